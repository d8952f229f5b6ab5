//! What the fuzzer of messages begins with (`fuzz/seeds/bridge_message`): a message of each kind that has something in it, as it is
//! written today. With `UPDATE_SEEDS=1` this writes them.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use truemute_bridge::message::{
    Anchor, Aside, Client, Event, FromAgent, FromPlugin, GateState, LARGEST_FROM_PLUGIN, Opened,
    Pulled, Pulls, Recorded, Refused, Reply, Request, Snapshot, VERSION, Welcome, encode,
};
use truemute_core::ledger::Tally;
use truemute_core::observed::Counts;

const TALLY: Tally = Tally {
    pulls: 3,
    frames: 1536,
    nanoseconds: 32_000_000,
};

fn bytes(message: &impl Serialize) -> Vec<u8> {
    encode(message, LARGEST_FROM_PLUGIN).expect("it can be written")
}

fn from_agent() -> BTreeMap<&'static str, FromAgent> {
    let request = |request| FromAgent::Request { id: 9, request };
    BTreeMap::from([
        ("hello", FromAgent::Hello { version: VERSION }),
        ("unmute", request(Request::Unmute)),
        ("trace", request(Request::Trace(true))),
        (
            "recorded",
            request(Request::Snapshot(Some(Recorded {
                look: 4,
                gone: vec![1, 300],
            }))),
        ),
        (
            "aside",
            request(Request::Aside(Aside {
                clients: vec![2, 900],
                judged: u64::MAX,
            })),
        ),
    ])
}

fn from_plugin() -> BTreeMap<&'static str, FromPlugin> {
    let reply = |reply| FromPlugin::Reply { id: 9, reply };
    let anchor = Anchor {
        host_ns: 81_240_031_337,
        sample: 32_768,
        seed: 2,
        rate: 48_000,
    };
    let gate = GateState {
        epoch: 7,
        open: true,
    };
    let client = Client {
        arrival: 5,
        id: 3,
        pid: 4242,
        bundle: Some("org.example.app".into()),
        running: Some(true),
        counts: Some(Counts {
            live: TALLY,
            muted: TALLY,
            ..Counts::default()
        }),
        last_read_ns: Some(81_250_007_711),
    };
    let pulled = Pulled {
        arrival: 5,
        at_ns: 81_250_007_711,
        position: 3_904_512,
        frames: 512,
        live: true,
        flagged: false,
    };
    BTreeMap::from([
        (
            "welcome",
            FromPlugin::Welcome(Welcome {
                version: VERSION,
                instance: 7,
                anchor,
                gate,
                running: 1,
            }),
        ),
        (
            "refused",
            FromPlugin::Refused(Refused::Version { ours: VERSION }),
        ),
        (
            "unmuted",
            reply(Reply::Unmuted(Opened {
                epoch: 7,
                opened_ns: 81_240_031_337,
            })),
        ),
        (
            "snapshot",
            reply(Reply::Snapshot(Snapshot {
                instance: 7,
                look: 4,
                at_ns: 81_250_007_711,
                clients: vec![client],
                unattributed: TALLY,
                forgotten: 1,
            })),
        ),
        (
            "pulls",
            reply(Reply::Pulls(Pulls {
                pulls: vec![pulled; 2],
                lost: 3,
            })),
        ),
        ("diag", reply(Reply::Diag("gate_open=0\n".into()))),
        ("clock", FromPlugin::Event(Event::Clock(anchor))),
        ("arrived", FromPlugin::Event(Event::Arrived(5))),
    ])
}

#[test]
fn are_the_messages_of_today() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/bridge_message");
    let agent = from_agent()
        .into_iter()
        .map(|(name, it)| (name, bytes(&it)));
    let plugin = from_plugin()
        .into_iter()
        .map(|(name, it)| (name, bytes(&it)));
    let wanted: BTreeMap<_, _> = agent.chain(plugin).collect();
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (name, bytes) in &wanted {
            std::fs::write(folder.join(name), bytes).expect("the seeds can be written");
        }
    }
    let found: BTreeMap<_, _> = std::fs::read_dir(&folder)
        .expect("the seeds are there")
        .map(|entry| {
            let entry = entry.expect("the seeds are there");
            let bytes = std::fs::read(entry.path()).expect("a seed can be read");
            (entry.file_name().into_string().expect("a name"), bytes)
        })
        .collect();
    let wanted = wanted.into_iter().map(|(name, it)| (name.to_owned(), it));
    assert_eq!(
        found,
        wanted.collect(),
        "run this with UPDATE_SEEDS=1 after a change of messages"
    );
}
