//! Other clients may change settings of the virtual mic, as of any node. Whatever they set, muted output stays zero to the
//! last bit, or the stream stops (P1).

use std::process::Stdio;

use pipewire::spa;
use pipewire::spa::node::command::NodeCommandId;
use pipewire::spa::param::ParamType;
use pipewire::spa::pod::{Object, Property, Value, ValueArray};
use pipewire::spa::sys as spa_sys;
use pipewire::spa::utils::Id;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, Signal};
use truemute_tests::evidence::Reading;
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, Switch, WhileMuted, each};

/// What another client does.
#[derive(Clone, Debug)]
enum Deed {
    /// Sets properties of the node.
    Props(Vec<(u32, Value)>),
    /// Sets named parameters of the converter.
    Params(&'static str, Value),
    /// Sets a param.
    Param(ParamType, Object),
    /// Sends a command.
    Command(NodeCommandId),
    /// `pw-cli set-param NODE Props TEXT`.
    PwCli(&'static str),
}

/// All but the last two kinds leave the node running, so they are done one after another.
fn lasting() -> Vec<Deed> {
    let mut deeds = vec![
        Deed::PwCli("{ volume: 10.0, mute: false, channelVolumes: [ 10.0 ] }"),
        Deed::Props(vec![(spa_sys::SPA_PROP_mute, Value::Bool(false))]),
        Deed::Props(vec![(spa_sys::SPA_PROP_softMute, Value::Bool(false))]),
        Deed::Props(vec![(spa_sys::SPA_PROP_monitorMute, Value::Bool(false))]),
    ];
    for gain in [f32::NAN, f32::INFINITY, -1.0, -0.0, 1e38] {
        let gains = || Value::ValueArray(ValueArray::Float(vec![gain]));
        for (key, value) in [
            (spa_sys::SPA_PROP_volume, Value::Float(gain)),
            (spa_sys::SPA_PROP_channelVolumes, gains()),
            (spa_sys::SPA_PROP_softVolumes, gains()),
            (spa_sys::SPA_PROP_monitorVolumes, gains()),
        ] {
            deeds.push(Deed::Props(vec![(key, value)]));
        }
        // Back to normal, so that the next ones act alone.
        deeds.push(Deed::Props(vec![
            (spa_sys::SPA_PROP_volume, Value::Float(1.0)),
            (
                spa_sys::SPA_PROP_channelVolumes,
                Value::ValueArray(ValueArray::Float(vec![1.0])),
            ),
        ]));
    }
    let text = |text: &str| Value::String(text.to_owned());
    deeds.extend([
        Deed::Params("dither.noise", Value::Int(16)),
        Deed::Params("dither.method", text("wannamaker3")),
        Deed::Params("audioconvert.filter-graph.disable", Value::Bool(false)),
        Deed::Params("audioconvert.filter-graph", text(GRAPH)),
        Deed::Params("audioconvert.filter-graph.0", text(GRAPH)),
        Deed::Params("channelmix.rear-delay", Value::Float(500.0)),
        Deed::Params("channelmix.stereo-widen", Value::Float(1.0)),
        Deed::Params("resample.quality", Value::Int(14)),
    ]);
    deeds
}

/// Adds a quarter to each sample: of zeros it makes sound.
const GRAPH: &str = r#"{ nodes = [ { type = builtin label = linear name = add control = { "Mult" = 1.0 "Add" = 0.25 } } ] }"#;

const COMMANDS: [NodeCommandId; 7] = [
    NodeCommandId::SUSPEND,
    NodeCommandId::PAUSE,
    NodeCommandId::START,
    NodeCommandId::FLUSH,
    NodeCommandId::DRAIN,
    NodeCommandId::PARAM_BEGIN,
    NodeCommandId::REQUEST_PROCESS,
];

/// Each of these may end the stream, so each has a server of its own.
fn breaking() -> Vec<Deed> {
    // From then on the converter resamples, and no block of the mic fits.
    let mut deeds = vec![Deed::Props(vec![(
        spa_sys::SPA_PROP_rate,
        Value::Double(1.001),
    )])];
    deeds.extend(COMMANDS.map(Deed::Command));
    for (mode, monitor) in [
        (spa_sys::SPA_PARAM_PORT_CONFIG_MODE_convert, false),
        (spa_sys::SPA_PARAM_PORT_CONFIG_MODE_passthrough, false),
        (spa_sys::SPA_PARAM_PORT_CONFIG_MODE_dsp, true),
    ] {
        deeds.push(Deed::Param(
            ParamType::PortConfig,
            port_config(mode, monitor),
        ));
    }
    deeds.push(Deed::Param(
        ParamType::Format,
        Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Format,
            id: spa_sys::SPA_PARAM_Format,
            properties: format(spa_sys::SPA_AUDIO_FORMAT_S16, 1),
        },
    ));
    deeds
}

#[test]
fn muted_stays_zero_whatever_is_set() {
    let mut scenes = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for while_muted in WhileMuted::BOTH {
            scenes.push(scene(version, while_muted));
        }
    }
    each(&scenes, |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [stage.client(1, Format::F32), stage.client(1, Format::S16)];
        stage.pulls(10, &clients);
        for deed in lasting() {
            do_it(&stage, &deed);
            stage.pulls(8, &clients);
            for client in &clients {
                silent(&stage, client, None, &deed);
            }
        }
        // The mute flag silences too, and would hide what the gate lets through.
        let meddler = Meddler::connect(&stage.server);
        meddler.see_through_mute_flag(1);
        stage.pulls(8, &clients);
        // The same while live, so that the mute comes after them.
        for deed in lasting() {
            let unmute = stage.unmute();
            do_it(&stage, &deed);
            stage.pulls(4, &clients);
            let mute = stage.mute();
            meddler.see_through_mute_flag(1);
            stage.pulls(12, &clients);
            assert!(mute.sent_ns > unmute.replied_ns);
            for client in &clients {
                silent(&stage, client, Some(&mute), &deed);
            }
        }
    });
}

#[test]
fn clients_go_on_and_muted_is_zero_after_what_can_stop_a_node() {
    let mut cells = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for number in 0..breaking().len() {
            cells.push((scene(version, WhileMuted::Hold), VIRTUAL_MIC, number));
        }
        for number in 0..breaking().len() {
            cells.push((scene(version, WhileMuted::Hold), "truemute.capture", number));
        }
    }
    each(&cells, |(scene, node, number)| {
        let deed = &breaking()[*number];
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let client = stage.client(1, Format::F32);
        stage.pulls(10, [&client]);
        do_to(&stage, node, deed);
        stage.pulls(50, [&client]);
        silent(&stage, &client, None, deed);
        // While live it can distort or interrupt the sound, but sound comes.
        let unmute = stage.unmute();
        do_to(&stage, node, deed);
        stage.pulls(50, [&client]);
        let sound = client.wait_for_sound(true, client.tape().logged(), LIMIT);
        assert!(sound.is_some(), "{}", stage.logs());
        let mute = stage.mute();
        assert!(mute.sent_ns > unmute.replied_ns);
        Meddler::connect(&stage.server).see_through_mute_flag(1);
        stage.pulls(50, [&client]);
        silent(&stage, &client, Some(&mute), deed);
    });
}

fn scene(version: Version, while_muted: WhileMuted) -> Scene {
    Scene {
        version,
        while_muted,
        signals: vec![Signal::Noise { seed: 9 }],
        ..Scene::default()
    }
}

/// What the client got after the mute is zeros, of as many cycles as prove something: on a busy machine some do not.
fn silent(stage: &Stage, client: &Recorder, mute: Option<&Switch>, deed: &Deed) {
    let mut reading = Reading::of(client);
    let proven = wait_until(LIMIT, || {
        reading = Reading::of(client);
        !reading.silent(mute, None).is_empty()
    });
    assert!(proven, "{}: {deed:?}\n{}", client.name(), stage.logs());
    for cycle in reading.silent(mute, None) {
        assert!(cycle.is_zero(), "{}: {deed:?}: {cycle:?}", client.name());
    }
}

fn do_it(stage: &Stage, deed: &Deed) {
    do_to(stage, VIRTUAL_MIC, deed);
}

fn do_to(stage: &Stage, node: &str, deed: &Deed) {
    let meddler = Meddler::connect(&stage.server);
    let (node, _) = meddler.node(node).expect("a node of the daemon's");
    let props = |properties| {
        let object = Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Props,
            id: spa_sys::SPA_PARAM_Props,
            properties,
        };
        meddler.set_param(node, ParamType::Props, &Value::Object(object));
    };
    match deed {
        Deed::Props(list) => {
            let list = list.iter().cloned();
            props(list.map(|(key, value)| Property::new(key, value)).collect());
        }
        Deed::Params(name, value) => {
            let pair = vec![Value::String((*name).to_owned()), value.clone()];
            props(vec![Property::new(
                spa_sys::SPA_PROP_params,
                Value::Struct(pair),
            )]);
        }
        Deed::Param(id, object) => meddler.set_param(node, *id, &Value::Object(object.clone())),
        Deed::Command(command) => meddler.command(node, *command),
        Deed::PwCli(text) => {
            let mut command = stage.server.command("pw-cli");
            command.args(["set-param", &node.to_string(), "Props", text]);
            let status = command.stdout(Stdio::null()).status().expect("pw-cli runs");
            assert!(status.success(), "{status}");
        }
    }
    meddler.look();
}

fn port_config(mode: u32, monitor: bool) -> Object {
    let inner = Object {
        type_: spa_sys::SPA_TYPE_OBJECT_Format,
        id: spa_sys::SPA_PARAM_Format,
        properties: format(spa_sys::SPA_AUDIO_FORMAT_F32P, 2),
    };
    Object {
        type_: spa_sys::SPA_TYPE_OBJECT_ParamPortConfig,
        id: spa_sys::SPA_PARAM_PortConfig,
        properties: vec![
            id(
                spa_sys::SPA_PARAM_PORT_CONFIG_direction,
                spa_sys::SPA_DIRECTION_OUTPUT,
            ),
            id(spa_sys::SPA_PARAM_PORT_CONFIG_mode, mode),
            Property::new(spa_sys::SPA_PARAM_PORT_CONFIG_monitor, Value::Bool(monitor)),
            Property::new(spa_sys::SPA_PARAM_PORT_CONFIG_format, Value::Object(inner)),
        ],
    }
}

fn format(sample: u32, channels: i32) -> Vec<Property> {
    vec![
        id(spa_sys::SPA_FORMAT_mediaType, spa_sys::SPA_MEDIA_TYPE_audio),
        id(
            spa_sys::SPA_FORMAT_mediaSubtype,
            spa_sys::SPA_MEDIA_SUBTYPE_raw,
        ),
        id(spa_sys::SPA_FORMAT_AUDIO_format, sample),
        Property::new(spa_sys::SPA_FORMAT_AUDIO_rate, Value::Int(48_000)),
        Property::new(spa_sys::SPA_FORMAT_AUDIO_channels, Value::Int(channels)),
    ]
}

fn id(key: u32, value: spa::sys::spa_param_type) -> Property {
    Property::new(key, Value::Id(Id(value)))
}
