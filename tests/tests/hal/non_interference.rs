//! While muted, a client of the plug-in observes the same whatever the room sounds like (promise P4): every byte of its reads and
//! what lies behind them, every status, every property, and what the plug-in calls on its host. Not compared: time stamps, how
//! long a call takes, and the number and the folder that each start of the plug-in has for itself.

use std::collections::BTreeMap;

use serde_json::Value;
use truemute_core::shared_ring::FRAMES;
use truemute_hal::abi::codes::{SCOPE_GLOBAL, SCOPE_INPUT, SCOPE_OUTPUT};
use truemute_hal::table::{ROWS, Shape};
use truemute_macos::diagnosis::Diagnosis;

use crate::set::{READER, Set, now_ns};

/// What the room sounds like: the frame at a position.
type Sound = fn(u64) -> [f32; 2];

/// Nothing at all, something soft, and the loudest that there is, with what is no number.
const SOUNDS: [Sound; 3] = [
    |_| [0.0; 2],
    |at| [(at % 100) as f32 * 1e-4, -1e-3],
    |at| match at % 3 {
        0 => [f32::NAN, f32::INFINITY],
        1 => [f32::MAX, f32::MIN],
        _ => [1.0, -0.0],
    },
];

/// All that a client can observe, under the name of how it is asked.
fn observe(sound: Sound) -> BTreeMap<String, Value> {
    let mut set = Set::new();
    // Once live, so that the driver has had sound in its hands; then muted, and the room goes on.
    let start = 300_000;
    set.go_live(start, 2.0);
    let muted = set.client.mute().expect("the plug-in answers");
    assert!(muted.settled);
    let reads_before = set.live + set.silent;
    let frames: Vec<_> = (start..start + FRAMES as u64).map(sound).collect();
    let mut observed = BTreeMap::new();
    // As an agent that keeps to its mute, and as one that does not: of the former epoch, of one to come, and of this one.
    for ahead in [-1, 1, 0] {
        let epoch = muted.epoch.saturating_add_signed(ahead);
        set.ring.begin(epoch, start, now_ns());
        set.ring.write(&frames);
        for sample in [start - 1, start, start + 4096, start + FRAMES as u64, 0] {
            for frames in [0, 1, 64, 512] {
                let order = format!("raw {READER} {sample} {frames}");
                let answer = set.host.order(&order);
                observed.insert(format!("{order}, epoch {ahead:+}"), answer);
            }
        }
    }
    let mut ask = |order: String| {
        let answer = set.host.order(&order);
        observed.insert(order, answer);
    };
    for row in &ROWS {
        let is_object = row.shape == Shape::Object;
        for scope in [SCOPE_GLOBAL, SCOPE_INPUT, SCOPE_OUTPUT] {
            let (object, selector) = (row.object as u32, row.selector.0);
            // Asked apart: these two have numbers of their own.
            if !matches!(row.name, "diag" | "sock") {
                ask(format!(
                    "get {object} {} {selector} {}",
                    scope.0,
                    u8::from(is_object)
                ));
            }
        }
    }
    let told = set.host.order("diag");
    let told = told["plist"].as_str().expect("a property list");
    let mut told = Diagnosis::from_property_list(told.as_bytes()).expect("a diagnosis");
    (told.instance, told.now_ns, told.clock) = (String::new(), 0, None);
    (told.bridge.path, told.bridge.own_path) = (None, None);
    // How often it took to go live, and so the epoch, depends on the machine.
    told.gate_epoch = 0;
    for client in &mut told.clients {
        let reads = client.live.unwrap_or_default().reads + client.muted.unwrap_or_default().reads;
        assert_eq!(reads - reads_before as i64, 60, "{client:?}");
        (client.live, client.muted, client.flagged) = (None, None, 0);
    }
    let told = serde_json::to_value(told).expect("it can be written");
    observed.insert("diag".into(), told);
    assert!(set.host.finish());
    observed
}

#[test]
fn a_muted_client_observes_the_same_whatever_the_room_sounds_like() {
    let [silence, soft, loud] = SOUNDS.map(observe);
    assert!(silence.len() > 100, "{}", silence.len());
    let differing = |other: &BTreeMap<String, Value>| {
        let differs = |it: &(&String, &Value)| other.get(it.0) != Some(it.1);
        let all: Vec<_> = silence.iter().filter(differs).collect();
        format!("{all:#?}")
    };
    assert_eq!(differing(&soft), "[]");
    assert_eq!(differing(&loud), "[]");
    assert_eq!((soft.len(), loud.len()), (silence.len(), silence.len()));
}
