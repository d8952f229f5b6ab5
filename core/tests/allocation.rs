//! The real-time path does not allocate (promise P6): gate and ledger are driven with every outcome while the thread's
//! allocations are counted.
#![cfg(not(loom))]

use std::hint::black_box;
use truemute_core::gate::{Decision, Gate, SilentReason, Source};
use truemute_core::ledger::{Ledger, Pull};
use truemute_core::shared_ring::{RingWriter, SharedRing};

#[test]
fn the_real_time_path_does_not_allocate() {
    let gate = Gate::new();
    let ledger = Box::new(Ledger::<8>::new(1));
    let mut writer = ledger.claim(1).expect("a slot is free");
    let mut buffer = vec![0_u8; 4096];
    let mut reasons = [0_u32; 7];
    gate.renew_lease(10_000);

    let counted = allocation_counter::measure(|| {
        let mut cycle = |now_ns, source, mute_inside: bool| {
            let delivery = gate.begin(now_ns, source);
            let decision = delivery.fill(&mut buffer, |buffer| {
                buffer.fill(0x55);
                if mute_inside {
                    gate.mute();
                }
            });
            let (live, code) = match decision {
                Decision::Live(_) => (true, 0),
                Decision::Silent(reason) => (false, reason.code()),
            };
            reasons[usize::from(code)] += 1;
            let pull = Pull {
                finish_ns: now_ns,
                frames: 512,
                nanoseconds: 10_666_667,
                live,
                flagged: !live,
            };
            ledger.record(&mut writer, pull);
            ledger.record_unattributed(pull);
            ledger.record_lost(&mut writer, 1);
            ledger.record_flagged(&mut writer);
            ledger.record_flagged(&mut writer);
        };
        cycle(100, Source::Missing, false);
        gate.unmute(200);
        cycle(300, Source::Missing, false);
        cycle(300, Source::Unhealthy, false);
        cycle(300, Source::Block { began_ns: 150 }, false);
        cycle(300, Source::Block { began_ns: 250 }, false);
        cycle(300, Source::Block { began_ns: 250 }, true);
        gate.unmute(300);
        cycle(20_000, Source::Block { began_ns: 350 }, false);
        black_box(gate.settled(gate.state().0));
        black_box(ledger.snapshot(writer.slot()).is_ok());
        black_box(ledger.unattributed());
    });

    assert_eq!(
        reasons,
        [1; 7],
        "every outcome, live and each {:?}, was driven once",
        SilentReason::Muted
    );
    assert_eq!(counted.count_total, 0, "allocations on the real-time path");
}

#[test]
fn the_counter_of_allocations_counts() {
    let counted = allocation_counter::measure(|| drop(black_box(Box::new(1_u8))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn a_ledger_for_512_clients_fits_the_daemon() {
    let bytes = size_of::<Ledger<512>>();
    assert!(bytes <= 1 << 20, "{bytes} bytes");
    let ledger: Box<Ledger<512>> = Box::new(Ledger::new(1));
    assert_eq!(ledger.instance(), 1);
}

#[test]
fn the_shared_ring_does_not_allocate() {
    let gate = Gate::new();
    gate.renew_lease(10_000_000_000);
    let epoch = gate.unmute(0);
    let (ring, mut writer) = (Box::new(SharedRing::new()), RingWriter::new());
    let mut buffer = vec![0_u8; 4096];
    let counted = allocation_counter::measure(|| {
        writer.begin(&ring, epoch.get(), 0, 0);
        writer.write(&ring, std::iter::repeat_n(7, 40_000));
        let mut deliver = |position| ring.deliver(&gate, 1_000_000_000, position, &mut buffer);
        assert_eq!(deliver(30_000), Decision::Live(epoch));
        assert!(matches!(deliver(39_900), Decision::Silent(_)));
    });
    assert_eq!(counted.count_total, 0, "allocations on the real-time path");
}
