//! Frames that each way adds to the way of a sample: all ways at once on one server, beside a client that records the mic
//! itself. The mic plays a ramp, so that every sample tells at which position of the clock it was played.

use serde::Serialize;
use truemute_pipewire::rehearsal::ramp_phase;
use truemute_tests::evidence::Reading;
use truemute_tests::recorder::{Connections, Recorder, RecorderOptions, Recorders};

use crate::figures::Spread;
use crate::rival::{Ground, LIMIT, Running, Way};
use crate::{Result, progress};

const QUANTA: [u32; 3] = [64, 256, 1024];
/// Buffers that each client gets.
const BUFFERS: u64 = 200;
/// Bits of the ramp that the simulated mic plays.
const BITS: u32 = 23;

/// One way at one quantum.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) quantum: u32,
    pub(crate) way: Way,
    /// Frames more than a client of the mic itself has; nothing if no block was one of the ramp.
    pub(crate) added: Option<Spread>,
    /// Blocks whose first sample was not one of the ramp, bit for bit.
    pub(crate) changed: usize,
}

pub(crate) fn measure(ground: &Ground, rows: &mut Vec<Row>) -> Result<()> {
    for quantum in QUANTA {
        progress(format_args!("latency: q={quantum}"));
        let (server, mic) = ground.serve(quantum)?;
        let mut running = Vec::new();
        for way in Way::ALL {
            running.push(Running::start(way, ground, &server, &mic)?);
        }
        let recorders = Recorders::start(&server, Connections::Own)?;
        let record = |source: &str| {
            recorders.add(RecorderOptions {
                name: format!("client of {source}"),
                target: Some(source.to_owned()),
                ..RecorderOptions::default()
            })
        };
        let direct = record(mic.name())?;
        let clients = Way::ALL.map(|way| record(way.source()));
        let clients = clients
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for way in &running {
            way.unmute()?;
        }
        let mut starts = Vec::new();
        for client in clients.iter().chain([&direct]) {
            client
                .wait_for_sound(true, 0, LIMIT)
                .ok_or_else(|| format!("a client hears nothing\n{}", server.log()))?;
            starts.push(client.tape().pulls());
        }
        for (client, start) in clients.iter().chain([&direct]).zip(starts) {
            if !client.wait_for_pulls(start + BUFFERS, LIMIT) {
                return Err(format!("a client is {:?}", client.state()).into());
            }
        }
        let straight = Spread::of(ages(&direct).0).ok_or("the mic's own client heard no ramp")?;
        for (way, client) in Way::ALL.into_iter().zip(&clients) {
            let (ages, changed) = ages(client);
            rows.push(Row {
                quantum,
                way,
                added: Spread::of(ages.into_iter().map(|age| age - straight.median)),
                changed,
            });
        }
    }
    Ok(())
}

/// For each block whose position is sure, how many frames ago its first sample was played; and how many blocks began with
/// a sample that was never played.
fn ages(client: &Recorder) -> (Vec<f64>, usize) {
    let tape = Reading::of(client);
    let modulus = (1 << BITS) - 1;
    let mut changed = 0;
    let ages = tape
        .cycles
        .iter()
        .zip(&tape.sure)
        .filter(|(cycle, sure)| **sure && !cycle.is_zero())
        .filter_map(|(cycle, _)| {
            let phase = ramp_phase(BITS, 0, f32::from_bits(cycle.first));
            changed += usize::from(phase.is_none());
            Some(((cycle.position + modulus - phase?) % modulus) as f64)
        })
        .collect();
    (ages, changed)
}
