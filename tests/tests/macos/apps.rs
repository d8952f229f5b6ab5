//! What is told of single apps and single reads: an app that is muted on its own, and the trace.

use std::time::Duration;

use truemute_agent::agent::Failure;
use truemute_agent::simulated::{Mic, now_ns};
use truemute_core::observed::{Client, Event, Pull};
use truemute_macos::NAMES;
use truemute_tests::plugin::{Read, Runs, check_ramp};

use crate::agent::{Rig, wait_for};

const TALK: &str = "/Applications/Talk.app/Contents/MacOS/Talk";

fn clients(rig: &Rig) -> Vec<Client> {
    rig.agent.snapshot().expect("the driver answers").clients
}

#[test]
fn an_app_that_is_muted_on_its_own_gets_zeros_also_when_it_comes_again_and_others_hear_on() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    for (pid, executable) in [
        (71, TALK),
        (72, "/bin/memo"),
        (73, TALK),
        (74, "/bin/other"),
    ] {
        rig.system.set_executable(pid, executable.into());
    }
    let (talk, memo) = (rig.plugin.read_as(71, 512), rig.plugin.read_as(72, 480));
    let opened_ns = now_ns();
    rig.unmute();
    rig.wait_for_sound(&talk);
    rig.wait_for_sound(&memo);
    let switched = rig.agent.mute_app("talk").expect("it is there");
    let muted_ns = now_ns();
    assert_eq!((switched.clients, switched.changed), (vec![1], true));
    assert_eq!(switched.apps[0].executable.as_deref(), Some(TALK.as_ref()));
    let again = rig.agent.mute_app(TALK).expect("it is still there");
    assert!(!again.changed);
    rig.wait_for_sound(&memo);
    // It leaves, and comes again as another process under another number: nothing of it is heard in between.
    let left = talk.stop();
    assert!(
        left.iter()
            .filter(|read| read.at_ns > muted_ns)
            .all(Read::is_zero)
    );
    let talk = rig.plugin.read_as(73, 512);
    wait_for("the app again", || {
        let clients = clients(&rig);
        let its = clients.iter().find(|client| client.who.pid == Some(73))?;
        its.app_muted.then_some(())
    });
    // Another app that comes is heard, once it is known who it is.
    let other = rig.plugin.read_as(74, 512);
    rig.wait_for_sound(&other);
    rig.wait_for_sound(&memo);
    wait_for("reads", || (talk.so_far().len() > 20).then_some(()));
    assert!(talk.so_far().iter().all(Read::is_zero));
    let look = rig.agent.snapshot().expect("the driver answers");
    assert_eq!(look.muted_apps.len(), 1);
    let muted: Vec<_> = look
        .clients
        .iter()
        .map(|it| (it.who.pid, it.app_muted))
        .collect();
    let expected =
        [(71, true), (72, false), (73, true), (74, false)].map(|(pid, it)| (Some(pid), it));
    assert_eq!(muted, expected);
    rig.agent.unmute_app("TALK").expect("it is muted");
    rig.wait_for_sound(&talk);
    assert_eq!(
        rig.agent.unmute_app("talk"),
        Err(Failure::NotMuted("talk".into()))
    );
    let nobody = rig.agent.mute_app("nobody");
    assert_eq!(nobody, Err(Failure::NoSuchClient("nobody".into())));
    assert!(check_ramp(&memo.stop(), opened_ns, Runs::One) > 4000);
}

#[test]
fn apps_that_were_muted_before_are_so_from_their_first_read_on() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    rig.system.set_executable(71, TALK.into());
    rig.system.set_executable(72, "/bin/memo".into());
    let app = truemute_core::observed::MutedApp {
        app: "Talk".into(),
        executable: Some(TALK.into()),
    };
    rig.agent.restore_muted_apps(std::slice::from_ref(&app));
    let (talk, memo) = (rig.plugin.read_as(71, 512), rig.plugin.read_as(72, 512));
    rig.unmute();
    rig.wait_for_sound(&memo);
    wait_for("reads", || (talk.so_far().len() > 20).then_some(()));
    assert!(talk.stop().iter().all(Read::is_zero));
    assert_eq!(
        rig.agent.snapshot().expect("the driver answers").muted_apps,
        [app]
    );
    assert_eq!(NAMES.system, "macOS");
}

/// The pulls that were told so far, of one client, and how many were lost in all.
fn pulls(rig: &Rig, client: u64) -> (Vec<Pull>, u64) {
    let events = rig.events.lock().expect("nobody panicked");
    let told = events.iter().filter_map(|event| match event {
        Event::Pulls { pulls, lost } => Some((pulls, lost)),
        _ => None,
    });
    let (mut its, mut all_lost) = (Vec::new(), 0);
    for (pulls, lost) in told {
        assert!(
            pulls.is_sorted_by_key(|pull| pull.monotonic_ns),
            "{pulls:?}"
        );
        its.extend(pulls.iter().filter(|pull| pull.client == client));
        all_lost += lost;
    }
    (its, all_lost)
}

#[test]
fn a_trace_has_every_read_of_a_client_that_comes_and_leaves() {
    let rig = Rig::new(vec![Mic::new("mic")]);
    let _first = rig.read(256);
    rig.agent.set_tracing(true);
    wait_for("the trace", || (!pulls(&rig, 1).0.is_empty()).then_some(()));
    let second = rig.read(480);
    rig.unmute();
    rig.wait_for_sound(&second);
    rig.agent.mute().expect("the driver answers");
    std::thread::sleep(Duration::from_millis(50));
    let reads = second.stop();
    let (told, lost) = wait_for("all reads", || {
        let (told, lost) = pulls(&rig, 2);
        (told.len() as u64 + lost >= reads.len() as u64).then_some((told, lost))
    });
    assert_eq!(lost, 0);
    let of = |read: &Read| (read.position, read.frames.len() as u32, !read.is_zero());
    let wanted: Vec<_> = reads.iter().map(of).collect();
    let told: Vec<_> = told
        .iter()
        .map(|it| (it.position, it.frames, it.live))
        .collect();
    assert_eq!(told, wanted);
    assert!(told.iter().any(|it| it.2) && told.iter().any(|it| !it.2));
    let counts = clients(&rig)[1].counts;
    assert_eq!(counts.live.pulls + counts.muted.pulls, told.len() as u64);
    // Off: nothing more comes, and what comes later is of a new trace.
    rig.agent.set_tracing(false);
    let silent_since = wait_for("the end", || {
        let before = pulls(&rig, 1).0.len();
        std::thread::sleep(Duration::from_millis(300));
        (pulls(&rig, 1).0.len() == before).then_some(before)
    });
    rig.agent.set_tracing(true);
    let resumed_ns = now_ns();
    wait_for("more", || {
        (pulls(&rig, 1).0.len() > silent_since).then_some(())
    });
    let (told, lost) = pulls(&rig, 1);
    assert_eq!(lost, 0);
    let first = told.get(silent_since).expect("there are more");
    assert!(
        first.monotonic_ns + 50_000_000 > resumed_ns,
        "a read from while nobody traced"
    );
}
