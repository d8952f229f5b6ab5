//! The profiler's estimate against the clients' own counts.

use super::super::books::{Books, trace_queue};
use super::super::profiler::ProfilerCounts;
use super::super::profiler_feed::ProfilerFeed;
use super::clients::Capture;
use super::output::{Output, Shape};
use super::{Stage, pw_sys};
use crate::monotonic::monotonic_ns;
use crate::rehearsal::ServerOptions;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use truemute_core::ledger::Ledger;

/// A client's first and last cycle can go untold.
const TOLERANCE: u64 = 2;

#[test]
fn the_profiler_comes_close() {
    const QUANTUM: u32 = 1024;
    const CLIENTS: usize = 4;
    let stage = Stage::new(ServerOptions::default(), QUANTUM);
    let ledger = Arc::new(Ledger::<512>::new(1));
    let estimator = Rc::new(RefCell::new(ProfilerCounts::default()));
    let (told, mut cycles) = rtrb::RingBuffer::new(4096);
    let ours = stage.connect();
    let registry = ours.1.get_registry_rc().unwrap();
    let profiler = Rc::new(Cell::new(None));
    let found = profiler.clone();
    let _globals = registry
        .add_listener_local()
        .global(move |global| {
            if global.type_.to_str() == "PipeWire:Interface:Profiler" {
                found.set(Some(global.id));
            }
        })
        .register();
    let context = ours.0.clone();
    let output = Output::start(
        ours,
        Shape::Triggered,
        QUANTUM,
        ledger.clone(),
        Some((estimator.clone(), told)),
    );
    stage.wait_for("our node and the profiler", || {
        output.node_id() != pw_sys::PW_ID_ANY && profiler.get().is_some()
    });
    let (mut trace, _traced) = trace_queue(1);
    let damaged = Rc::new(Cell::new(0));
    let on_message = {
        let (ledger, damaged, estimator) = (ledger.clone(), damaged.clone(), estimator.clone());
        move |message: &[u8]| {
            let mut estimator = estimator.borrow_mut();
            while let Ok(cycle) = cycles.pop() {
                estimator.delivered(cycle);
            }
            let mut books = Books {
                ledger: &ledger,
                trace: &mut trace,
            };
            damaged.set(damaged.get() + estimator.message(message, &mut books));
        }
    };
    let feed =
        ProfilerFeed::bind(&context, &registry, profiler.get().unwrap(), on_message).unwrap();

    let theirs = stage.connect();
    let captures: Vec<_> = (0..CLIENTS).map(|n| Capture::start(&theirs.1, n)).collect();
    stage.wait_for("enough cycles", || {
        captures.iter().all(|capture| capture.fed() >= 200)
    });
    let told: BTreeMap<_, _> = captures
        .into_iter()
        .map(|capture| (capture.node_id(), capture.end()))
        .collect();
    let settled = RefCell::new(BTreeMap::new());
    stage.wait_for("the last messages", || {
        settled.borrow_mut().extend(
            estimator
                .borrow_mut()
                .settled(monotonic_ns())
                .into_iter()
                .map(|account| (account.client, account)),
        );
        settled.borrow().len() == CLIENTS
    });
    drop(feed);

    assert_eq!(damaged.get(), 0);
    for (node_id, told) in told {
        let account = settled.borrow_mut().remove(&u64::from(node_id)).unwrap();
        let counted = ledger.release(account.slot.unwrap()).unwrap();
        let pulls = counted.live.pulls + counted.muted.pulls;
        println!(
            "profiler: node {node_id} estimated {pulls} and {} lost, it says {}",
            counted.lost,
            told.fed()
        );
        let known = pulls + counted.lost + counted.xruns;
        assert!(pulls <= told.fed() + 1 + counted.xruns);
        assert!(known + TOLERANCE >= told.fed());
        assert!(counted.live.pulls >= 50 && counted.muted.pulls >= 50);
    }
}
