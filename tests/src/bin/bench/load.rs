//! What each way costs with many clients: the time that a cycle of the graph takes, CPU of server and daemon, memory.
//! Each way has a server, a mic and clients of its own. The clients of one way run at a time, those of the others are
//! corked: so the ways take turns without anybody having to connect anew. TrueMute and pw-loopback, which are judged by their
//! difference, are measured back to back, and which of them comes first alternates; the others have a turn now and then.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use truemute_pipewire::rehearsal::{PrivateServer, SimulatedMic};
use truemute_tests::recorder::{
    Connections, Recorder, RecorderOptions, Recorders, State, wait_until,
};

use crate::figures::{Spread, mean};
use crate::process::{Cpu, Memory};
use crate::rival::{Ground, LIMIT, Running, Way};
use crate::{Result, progress};

/// Buffers that every client gets before a measurement.
const SETTLE: u64 = 16;
/// How often a round is made again at most.
const MOST_RELAPSES: u32 = 10;
/// How often a way is started again at most. With hundreds of clients, libpipewire 0.3.65 comes to refuse all memory that the server
/// shares with it ("invalid mem id" in the server's log), of pw-loopback as of the daemon.
const MOST_RENEWALS: u32 = 3;
/// In every so many rounds the ways that are not judged have a turn too.
const OTHERS_EVERY: usize = 4;

/// What to measure.
pub(crate) struct Plan {
    cells: Vec<(u32, usize)>,
    rounds: usize,
    span: Duration,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            return Self {
                cells: vec![(256, 8), (1024, 64)],
                rounds: 3,
                span: Duration::from_millis(500),
            };
        }
        Self {
            cells: vec![
                (64, 1),
                (64, 8),
                (256, 1),
                (256, 8),
                (256, 64),
                (1024, 1),
                (1024, 64),
                (1024, 256),
            ],
            rounds: 13,
            // Not less: what TrueMute does once a second would be in some rounds and not in others, and, since it goes by the
            // time when the clients came, perhaps in none.
            span: Duration::from_millis(1000),
        }
    }
}

/// One quantum with one number of clients.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) quantum: u32,
    pub(crate) clients: usize,
    pub(crate) ways: Vec<Load>,
    /// How often TrueMute muted by itself, for want of processor time.
    pub(crate) relapses: u32,
}

impl Cell {
    pub(crate) fn quantum_ns(&self) -> f64 {
        f64::from(self.quantum) * 1e9 / 48_000.0
    }

    pub(crate) fn of(&self, way: Way) -> Option<&Load> {
        self.ways.iter().find(|load| load.way == way)
    }

    /// How much more TrueMute takes than pw-loopback, round by round.
    pub(crate) fn more_than_loopback(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.pairs(|ours, theirs| figure(ours) - figure(theirs))
    }

    /// The median of what TrueMute takes as a multiple of what pw-loopback takes, round by round.
    pub(crate) fn ratio(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let ratios = self.pairs(|ours, theirs| figure(ours) / figure(theirs));
        Spread::of(ratios).map(|spread| spread.median)
    }

    fn pairs(&self, of: impl Fn(&Round, &Round) -> f64) -> Vec<f64> {
        let (Some(ours), Some(theirs)) = (self.of(Way::TrueMute), self.of(Way::PwLoopback)) else {
            return Vec::new();
        };
        let pairs = ours.rounds.iter().zip(&theirs.rounds);
        pairs.map(|(ours, theirs)| of(ours, theirs)).collect()
    }
}

/// One way in a cell.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) way: Way,
    pub(crate) rounds: Vec<Round>,
    /// Why there are not more rounds.
    pub(crate) failed: Option<String>,
    /// How often all of it was started again because clients heard nothing any more.
    pub(crate) renewed: u32,
    /// Of the process that moves the sound, at the end.
    pub(crate) memory: Memory,
}

impl Load {
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(figure)).map_or(f64::NAN, |spread| spread.median)
    }

    pub(crate) fn mean(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        mean(&mut self.rounds.iter().map(figure).collect::<Vec<_>>())
    }
}

/// One turn of one way.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// Cycles that ran.
    pub(crate) cycles: usize,
    /// Median time from the driver's trigger until all had finished and the driver was awake, in nanoseconds.
    pub(crate) busy_ns: f64,
    /// The same of the cycles that were disturbed least: the 10th percentile.
    pub(crate) calm_busy_ns: f64,
    /// CPU time of server and the process that moves the sound, per cycle, in nanoseconds.
    pub(crate) cpu_ns: f64,
    /// Of that, the server's.
    pub(crate) server_cpu_ns: f64,
    /// And of that, what real-time threads of the process that moves the sound used.
    pub(crate) audio_cpu_ns: f64,
    /// The same as a share of one core.
    pub(crate) cpu_share: f64,
}

pub(crate) fn measure(ground: &Ground, plan: &Plan, cells: &mut Vec<Cell>) -> Result<()> {
    for (quantum, clients) in &plan.cells {
        cells.push(measure_cell(ground, plan, *quantum, *clients)?);
    }
    Ok(())
}

fn measure_cell(ground: &Ground, plan: &Plan, quantum: u32, clients: usize) -> Result<Cell> {
    progress(format_args!("load: q={quantum}, {clients} clients"));
    let mut fields = Vec::new();
    for way in Way::ALL {
        fields.push(Field::set(way, ground, quantum, clients)?);
    }
    let mut rounds = [const { Vec::new() }; Way::ALL.len()];
    let mut relapses = 0;
    let mut failed = [const { None::<String> }; Way::ALL.len()];
    let mut renewed = [0; Way::ALL.len()];
    for number in 0..plan.rounds {
        for at in turns(number) {
            let (field, failed) = (&mut fields[at], &mut failed[at]);
            while failed.is_none() {
                match field.turn(plan.span) {
                    Ok((round, more)) => {
                        rounds[at].push(round);
                        relapses += more;
                        break;
                    }
                    Err(error) if renewed[at] < MOST_RENEWALS => {
                        progress(format_args!("{error}"));
                        renewed[at] += 1;
                        *field = Field::set(field.running.way, ground, quantum, clients)?;
                    }
                    // A rival may fail; that is a result too.
                    Err(error) if field.running.way != Way::TrueMute => {
                        progress(format_args!("{error}"));
                        *failed = Some(first_line(&error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let ways = fields
        .iter()
        .zip(rounds)
        .zip(failed)
        .zip(renewed)
        .map(|(((field, rounds), failed), renewed)| {
            Ok(Load {
                way: field.running.way,
                rounds,
                failed,
                renewed,
                memory: Memory::of(field.running.process)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Cell {
        quantum,
        clients,
        ways,
        relapses,
    })
}

/// Whose turn it is in a round, as places in [`Way::ALL`].
fn turns(round: usize) -> Vec<usize> {
    let judged = |at: &usize| matches!(Way::ALL[*at], Way::TrueMute | Way::PwLoopback);
    let (mut turns, others): (Vec<_>, Vec<_>) = (0..Way::ALL.len()).partition(judged);
    if round % 2 == 1 {
        turns.reverse();
    }
    if round.is_multiple_of(OTHERS_EVERY) {
        turns.extend(others);
    }
    turns
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A way with all that it needs. Its parts end in this order.
struct Field {
    /// The first logs its cycles, the others only count.
    clients: Vec<Recorder>,
    _recorders: Recorders,
    running: Running,
    _mic: SimulatedMic,
    server: PrivateServer,
}

impl Field {
    /// Sets up, with all clients connected, heard through and corked again.
    fn set(way: Way, ground: &Ground, quantum: u32, clients: usize) -> Result<Self> {
        let (server, mic) = ground.serve(quantum)?;
        // Raises the limit of open files, which the daemon inherits.
        let recorders = Recorders::start(&server, Connections::Own)?;
        let running = Running::start(way, ground, &server, &mic)?;
        let options = RecorderOptions {
            target: Some(way.source().to_owned()),
            cycles: 100_000,
            ..RecorderOptions::default()
        };
        let mut all = vec![recorders.add(options.clone())?];
        let silent = RecorderOptions {
            cycles: 0,
            ..options
        };
        all.extend(recorders.add_many(clients - 1, &silent)?);
        let field = Self {
            clients: all,
            _recorders: recorders,
            running,
            _mic: mic,
            server,
        };
        field.settle()?;
        field.running.unmute()?;
        field.stop()?;
        Ok(field)
    }

    /// A round, and how often the daemon muted by itself before it: its gate falls silent when the machine keeps it from
    /// renewing its lease for 200 ms. A silent round would be a cheap one, so it is made again.
    fn turn(&self, span: Duration) -> Result<(Round, u32)> {
        let mut relapses = 0;
        loop {
            relapses += u32::from(!self.running.is_live()?);
            self.running.unmute()?;
            self.start()?;
            let round = self.measure(span)?;
            let live = self.running.is_live()?;
            self.stop()?;
            if live {
                return Ok((round, relapses));
            }
            if relapses > MOST_RELAPSES {
                return Err(self
                    .trouble("is muted again and again", &self.clients[0])
                    .into());
            }
        }
    }

    /// Uncorks the clients and waits until all are served and sound comes.
    fn start(&self) -> Result<()> {
        for client in &self.clients {
            client.set_active(true);
        }
        self.settle()?;
        let first = &self.clients[0];
        let from = first.tape().logged();
        let heard = first.wait_for_sound(true, from, LIMIT).is_some();
        if !heard && self.running.is_live()? {
            return Err(self.trouble("hears nothing", first).into());
        }
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        for client in &self.clients {
            client.set_active(false);
        }
        for client in &self.clients {
            if !wait_until(LIMIT, || client.state() == State::Paused) {
                return Err(self.trouble("does not pause", client).into());
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let wanted: Vec<_> = self
            .clients
            .iter()
            .map(|client| client.tape().pulls() + SETTLE)
            .collect();
        for (client, wanted) in self.clients.iter().zip(wanted) {
            if !client.wait_for_pulls(wanted, LIMIT) {
                return Err(self.trouble("is not served", client).into());
            }
        }
        Ok(())
    }

    fn measure(&self, span: Duration) -> Result<Round> {
        let cpu = || -> Result<(Cpu, Cpu)> {
            let server = Cpu::of(self.server.pipewire_id())?;
            Ok((server, Cpu::of(self.running.process)?))
        };
        let tape = self.clients[0].tape();
        let (from, before) = (tape.logged(), cpu()?);
        // This is the span that is measured, not a wait for something.
        thread::sleep(span);
        let (after, log) = (cpu()?, tape.cycles_from(from));
        let (server, own) = (after.0.since(before.0), after.1.since(before.1));
        if tape.lost() > 0 {
            return Err("the log of cycles is too small".into());
        }
        // The first tells of a cycle before the span. A client that is so late that the driver was just writing reads nothing.
        let busy = log.iter().skip(1).map(|cycle| cycle.former_busy_ns as f64);
        let known = Spread::of(busy.filter(|busy| *busy > 0.0));
        let busy = known
            .filter(|known| known.count > log.len() / 2)
            .ok_or("the driver's record cannot be read")?;
        // A session manager moves the clients of a source that is gone to the mic itself, and nothing would show it.
        if own.all == 0 {
            return Err(self.trouble("lost its source", &self.clients[0]).into());
        }
        let cycles = log.len() as f64;
        let span_ns = cycles * log[0].duration as f64 * 1e9 / 48_000.0;
        let cpu = (server.all + own.all) as f64;
        Ok(Round {
            cycles: log.len(),
            busy_ns: busy.median,
            calm_busy_ns: busy.p10,
            cpu_ns: cpu / cycles,
            server_cpu_ns: server.all as f64 / cycles,
            audio_cpu_ns: own.realtime as f64 / cycles,
            cpu_share: cpu / span_ns,
        })
    }

    fn trouble(&self, what: &str, client: &Recorder) -> String {
        let name = self.running.way.name();
        let (state, pulls) = (client.state(), client.tape().pulls());
        let (log, own) = (self.server.log(), self.running.log());
        format!("a client of {name} {what}: it is {state:?} after {pulls} pulls\n{log}{own}")
    }
}
