//! Native clients, one to 256, each compared with its own process callbacks: in all, while live and while muted.

use std::sync::{PoisonError, RwLock};

use truemute_core::observed::CountedBy;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_tests::counted::{Own, gone, of_stream};
use truemute_tests::recorder::{Recorder, RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};

/// Buffers that each client gets in each state of the gate, at least.
const STRETCH: u64 = 30;
/// The cell with 256 clients runs alone.
static ALONE: RwLock<()> = RwLock::new(());

/// How many clients, and where.
#[derive(Clone, Debug)]
struct Cell {
    clients: usize,
    scene: Scene,
}

fn cell(clients: usize, quantum: u32, while_muted: WhileMuted) -> Cell {
    Cell {
        clients,
        scene: Scene {
            quantum,
            while_muted,
            open_files: Some(20_000),
            ..Scene::default()
        },
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for clients in [1, 8, 64] {
        cells.push(cell(clients, 256, WhileMuted::Hold));
        cells.push(cell(clients, 1024, WhileMuted::Release));
    }
    cells
}

#[test]
fn each_client_is_counted_as_it_counts_itself() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    each(&cells(), check);
}

#[test]
fn so_it_is_on_the_server_of_debian_13() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let mut cells = cells();
    for cell in &mut cells {
        cell.scene.version = Version::Debian13;
    }
    each(&cells, check);
}

#[test]
fn so_are_256_at_once() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    check(&cell(256, 1024, WhileMuted::Hold));
}

fn check(cell: &Cell) {
    let Some(stage) = Stage::set(&cell.scene) else {
        return;
    };
    // Live from the start, so that the silence which a client's own converter makes is told from ours.
    stage.unmute();
    let mut clients: Vec<_> = (0..cell.clients).map(|n| (n, add(&stage, n))).collect();
    pulls(&stage, &clients);
    // Live and muted in turn; a third of the clients leaves while live, another while muted, the rest at the end.
    let mut left = Vec::new();
    for turn in 0..3 {
        unmute(&stage);
        pulls(&stage, &clients);
        leave(
            &mut clients,
            &mut left,
            if turn == 1 { 3 } else { usize::MAX },
        );
        stage.mute();
        pulls(&stage, &clients);
        leave(
            &mut clients,
            &mut left,
            if turn == 1 { 2 } else { usize::MAX },
        );
    }
    leave(&mut clients, &mut left, 1);

    let stats = gone(&stage, cell.clients);
    let (mut sum, mut exact) = (0, 0);
    for (n, own) in &left {
        let name = name(*n);
        let counted = of_stream(&stats, &name).expect("each has come");
        if let Some(why) = own.disagrees(counted, cell.scene.quantum) {
            panic!("{name}: {why}\n{}", stage.logs());
        }
        assert_eq!(counted.counted_by, CountedBy::ActivationRecord);
        assert!(
            counted.live.pulls >= STRETCH && counted.muted.pulls >= STRETCH,
            "{counted:?}"
        );
        sum += own.pulls();
        exact += usize::from(counted.exact);
    }
    assert_eq!(stats.unattributed.pulls, 0);
    println!(
        "{:?}, quantum {}: {} clients, {sum} pulls, {exact} clients exact",
        cell.scene.version, cell.scene.quantum, cell.clients
    );
}

fn name(n: usize) -> String {
    format!("client-{n}")
}

fn add(stage: &Stage, n: usize) -> Recorder {
    stage.add(RecorderOptions {
        name: name(n),
        target: Some(VIRTUAL_MIC.to_owned()),
        ..RecorderOptions::default()
    })
}

fn pulls(stage: &Stage, clients: &[(usize, Recorder)]) {
    stage.pulls(STRETCH, clients.iter().map(|(_, client)| client));
}

/// Every `nth` client leaves.
fn leave(clients: &mut Vec<(usize, Recorder)>, left: &mut Vec<(usize, Own)>, nth: usize) {
    let (go, stay) = clients
        .drain(..)
        .partition::<Vec<_>, _>(|(n, _)| n % nth == nth - 1);
    *clients = stay;
    left.extend(
        go.into_iter()
            .map(|(n, client)| (n, Own::new(&client.end()))),
    );
}

/// The mic may take more than the second that an unmute waits, where 256 clients come on a loaded machine.
fn unmute(stage: &Stage) {
    let done = wait_until(LIMIT, || stage.daemon.unmute().is_ok());
    assert!(done, "no unmute is confirmed\n{}", stage.logs());
}
