//! The report for people: docs/performance.md.

use std::fmt::Write;

use crate::Report;
use crate::figures::Spread;
use crate::latency;
use crate::load::Cell;
use crate::machine::Machine;
use crate::macos;
use crate::rival::Way;
use crate::switching::{Commands, Row};
use crate::targets::{Target, Verdict};
use crate::windows::Costs;

pub(crate) fn of(report: &Report) -> String {
    let mut text = String::new();
    text.push_str(HEAD);
    if report.quick {
        text.push_str("\n**This was a quick run: too few rounds and tries to go by.**\n");
    }
    machine(&mut text, &report.machine);
    targets(&mut text, &report.targets);
    if !report.latency.is_empty() {
        latency(&mut text, &report.latency);
    }
    if !report.load.is_empty() {
        load(&mut text, &report.load);
    }
    if !report.switching.is_empty() {
        switching(&mut text, &report.switching);
    }
    if let Some(it) = &report.commands {
        commands(&mut text, it);
    }
    if !report.macos.is_empty() {
        macos(&mut text, &report.macos);
    }
    if let Some(costs) = &report.windows {
        windows(&mut text, costs);
    }
    text
}

const HEAD: &str = "\
# Performance

Written by the benchmark; do not edit. To repeat it, on a machine that does nothing else:

    cargo xtask bench --write docs/performance.md

`--quick` is a smoke test of under a minute, `--only latency` runs a part, `--json FILE` writes every figure, `--root DIR`
takes server and rivals from a Debian 13 root (`target/debian13-root`, made by `cargo xtask setup`). Nothing here is a test: the
benchmark says whether a target was met, and never fails for it.

Everything runs on private audio servers with a simulated mic, which plays a ramp: every sample tells at which position of
the graph's clock it was played. TrueMute stands beside what a person could put between a microphone and its
clients instead: `pw-loopback` and PulseAudio's `module-remap-source`. They take turns in one run, so that whatever else the
machine does hits all of them. The pw-loopback of PipeWire 0.3 comes without real-time priority, which saves it
switches and costs it deadlines; it is measured both so and with `PIPEWIRE_CONFIG_NAME=client-rt.conf`, which gives it the priority
that the others have. Targets and ratios are beside the latter.
";

fn machine(text: &mut String, it: &Machine) {
    let _ = write!(
        text,
        "
## The machine
| | |
|---|---|
| processor | {} cores of {} |
| kernel | {} |
| PipeWire | {} |
| TrueMute | {} |
| load average | {:.1} before, {:.1} after |
| processor time in use, this benchmark included | {:.0} % |
| processor time taken by the host of this virtual machine | {:.1} % |
",
        it.cores,
        it.processor,
        it.kernel,
        it.pipewire,
        it.truemute,
        it.load.0,
        it.load.1,
        it.in_use * 100.0,
        it.stolen * 100.0
    );
    if it.load.0 > 0.5 * it.cores as f64 {
        text.push_str(
            "
**Other work was running on this machine.** Absolute times, and above all 99th percentiles, are longer than they are on a
machine of one's own; what the ways take beside one another is more reliable than either figure alone.
",
        );
    }
}

fn targets(text: &mut String, all: &[Target]) {
    let count = |wanted: fn(&Verdict) -> bool| all.iter().filter(|it| wanted(&it.verdict)).count();
    let _ = write!(
        text,
        "
## Targets
Met: {}, not met: {}, cannot be told: {}, not judged: {}. TrueMute and pw-loopback are measured back to back, 13 times, each for
a second; what counts is the difference within each such pair: its median for the time per cycle, its mean for CPU, because
what is done in some seconds only would not show in a median. The interval is that of a 95 % bootstrap over the pairs. Met means that all of it is
within the target, not met that all of it is beyond; where it lies on both sides, this run cannot tell.

| what | wanted | measured | |
|---|---|---|---|
",
        count(|it| *it == Verdict::Met),
        count(|it| *it == Verdict::NotMet),
        count(|it| *it == Verdict::CannotBeTold),
        count(|it| matches!(it, Verdict::NotJudged(_))),
    );
    for it in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            it.what, it.wanted, it.measured, it.verdict
        );
    }
    if count(|it| matches!(it, Verdict::NotMet | Verdict::CannotBeTold)) > 0 {
        text.push_str(WHY_NOT);
    }
}

const WHY_NOT: &str = "
Why some are not met, and which cannot be, with the arithmetic: [decision 18](decisions/0018-what-the-lease-costs.md). In short:
- **CPU per cycle.** At a quantum of 1024 the target allows 2.8 us of processor time a second for each client. pw-loopback has no
  thread that wakes but the audio thread; TrueMute's others wake some 35 times a second, at 35 to 55 us each, for the lease and
  the history. With one client a single wake-up a second would be too much.
- **Unmute from idle, q=1024.** A block that begins after the unmute takes up to two quanta, and this mic, being virtual, has two
  more dropped, which can be from before.
- **Memory.** More than half are pages of files, most of them code: what a live daemon runs is spread over nearly all of it.
";

fn latency(text: &mut String, rows: &[latency::Row]) {
    text.push_str(
        "
## Added latency
Frames that a client's samples are older than those of a client which records the mic itself, all at the same time on one server.
\"Changed\" counts blocks whose first sample is not one that the mic played.

| quantum | way | fewest | median | most | blocks | changed |
|---:|---|---:|---:|---:|---:|---:|
",
    );
    for row in rows {
        let none = Spread::default();
        let added = row.added.as_ref().unwrap_or(&none);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.quantum,
            row.way.name(),
            added.lowest,
            added.median,
            added.highest,
            added.count,
            row.changed
        );
    }
}

fn load(text: &mut String, cells: &[Cell]) {
    text.push_str(
        "
## Many clients
Native clients that record one channel of F32, each with a connection of its own, all in one process. *Time per cycle* is the
graph's own figure, from its driver's activation record: from the moment when the driver triggers the others until all have
finished and the driver is awake again, the median of a round's cycles. (pw-top shows it as the driver's WAIT. Its source, the
profiler, sends nothing from about 100 clients on, and doubles the server's CPU at 64; the record has neither fault.) *CPU*
is that of PipeWire and of the process that moves the sound (`truemute`, `pw-loopback`, `pipewire-pulse`), by the kernel's
account of their threads. TrueMute is live, counts every pull of every client and keeps its history meanwhile. Each
figure of time is the median of the rounds, each of CPU their mean; the ratio is the median of the rounds' ratios, TrueMute to
pw-loopback. (The two that are not judged have every fourth round.) *Undisturbed* is the 10th percentile of a round's cycles instead of their median. The *audio thread's part* is that of the real-time thread of the
process that moves the sound; the rest of its part is bookkeeping, which goes by seconds and not by cycles: TrueMute renews the
lease of its gate 20 times a second, the thread that decides answers for itself 10 times, and once a second all counts are looked
at and written to the history. *Memory* is the most that process had resident, shared libraries included.

| quantum | clients | way | time per cycle, us | ratio | undisturbed, us | of the quantum | CPU per cycle, us | ratio | PipeWire's part | audio thread's part | % of a core | memory, MB |
|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
",
    );
    for cell in cells {
        for load in &cell.ways {
            if let Some(why) = &load.failed {
                let way = load.way.name();
                let _ = writeln!(
                    text,
                    "| {} | {} | {way} | {why} |",
                    cell.quantum, cell.clients
                );
                continue;
            }
            let busy = load.median(|round| round.busy_ns);
            let ratio = |figure: fn(&crate::load::Round) -> f64| {
                cell.ratio(figure)
                    .filter(|_| load.way == Way::TrueMute)
                    .map_or(String::new(), |ratio| format!("{ratio:.2}"))
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {} | {:.0} | {:.0} % | {:.0} | {} | {:.0} | {:.0} | {:.1} | {:.1} |",
                cell.quantum,
                cell.clients,
                load.way.name(),
                busy / 1e3,
                ratio(|round| round.busy_ns),
                load.median(|round| round.calm_busy_ns) / 1e3,
                busy / cell.quantum_ns() * 100.0,
                load.mean(|round| round.cpu_ns) / 1e3,
                ratio(|round| round.cpu_ns),
                load.mean(|round| round.server_cpu_ns) / 1e3,
                load.mean(|round| round.audio_cpu_ns) / 1e3,
                load.mean(|round| round.cpu_share) * 100.0,
                load.memory.most as f64 / f64::from(1 << 20)
            );
        }
    }
    let relapses: u32 = cells.iter().map(|cell| cell.relapses).sum();
    if relapses > 0 {
        let _ = writeln!(
            text,
            "\nTrueMute muted by itself {relapses} times in this part: other work kept it from renewing the lease of its gate for \
             200 ms. Those rounds were made again."
        );
    }
    for cell in cells {
        for load in cell.ways.iter().filter(|load| load.renewed > 0) {
            let _ = writeln!(
                text,
                "\nWith {} clients at a quantum of {}, a client of {} heard nothing any more {} times; server, clients and it were started again.",
                cell.clients,
                cell.quantum,
                load.way.name(),
                load.renewed
            );
        }
    }
}

fn switching(text: &mut String, rows: &[Row]) {
    text.push_str(
        "
## Mute and unmute
One client records; each command goes over the API on a connection of its own, at a random moment of a cycle. By position: from where
the graph's clock stood when the daemon had the mute (its reply's arrival less its `took_us`), to the end of the last block
that is not all zeros, as the client received it; and the same from when the client began to send it, which has the way to
the daemon in it. By the wall, in milliseconds: until the reply, and until the client has the first block of sound. The mic is held
(`while_muted = \"hold\"`), or let go of and either idle (something else keeps its device open) or suspended.

| quantum | mic | tries | mute, quanta: median | most | most, from sending | sound after the acknowledgement | positions unsure | mute's reply: median | p99 | unmute's reply: median | p99 | first sound: median | p99 | most |
|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
",
    );
    for row in rows {
        let none = Spread::default();
        let or = |spread: &Option<Spread>| spread.clone().unwrap_or(none.clone());
        let (quanta, sent) = (or(&row.mute_quanta), or(&row.mute_quanta_sent));
        let (mute, unmute, sound) = (
            or(&row.mute_reply),
            or(&row.unmute_reply),
            or(&row.unmute_sound),
        );
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            row.quantum,
            row.mic.name(),
            sound.count,
            quanta.median,
            quanta.highest,
            sent.highest,
            row.broken_promises,
            row.unsure,
            mute.median,
            mute.p99,
            unmute.median,
            unmute.p99,
            sound.median,
            sound.p99,
            sound.highest
        );
    }
}

fn commands(text: &mut String, it: &Commands) {
    let _ = write!(
        text,
        "
## The command line
Milliseconds from starting a program to its end, at a quantum of {}, the mic held. \"Of its own\" is the total less the
`took_us` of the reply, which is the daemon's and the audio thread's part.

| what | tries | median | p99 | most |
|---|---:|---:|---:|---:|
",
        it.quantum
    );
    for (what, spread) in [
        ("`truemute mute`", &it.mute_total),
        ("`truemute unmute`", &it.unmute_total),
        ("of its own, both", &it.own),
        ("`true`, for comparison", &it.smallest),
    ] {
        if let Some(it) = spread {
            let _ = writeln!(
                text,
                "| {what} | {} | {:.1} | {:.1} | {:.1} |",
                it.count, it.median, it.p99, it.highest
            );
        }
    }
}

fn macos(text: &mut String, rows: &[macos::Row]) {
    text.push_str(
        "
## The macOS plug-in
One `DoIOOperation` of 512 frames (4 KiB) through the plug-in's own interface, loaded as a shared object on Linux by a host in C,
beside `memcpy` and `memset` of as many bytes; nanoseconds, medians of rounds of 1000 calls that take turns. The clients read in turn
on one thread: what several threads cost each other is not in it. *Clocks* is what two looks at a clock take, which every read makes: the
time, and whether the machine slept. *Counting* is finding the client, its door and its counters, measured by themselves in rounds of as
many calls. *Rest* is a read without bytes, clocks and counting: the call and the gate; and while live the ring's watermarks, and
what a copy of whole frames takes more than `memcpy`, which may tear them.

| state | clients | read | memcpy | memset | clocks | counting | rest |
|---|---:|---:|---:|---:|---:|---:|---:|
",
    );
    for row in rows {
        let state = if row.live { "live" } else { "muted" };
        let _ = writeln!(
            text,
            "| {state} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            row.clients,
            row.read.median,
            row.memcpy.median,
            row.memset.median,
            2.0 * row.clock.median,
            row.counting.median,
            row.more.median - 2.0 * row.clock.median - row.counting.median
        );
    }
}

fn windows(text: &mut String, costs: &Costs) {
    let _ = write!(
        text,
        "
## The Windows driver
The driver as it is shipped, in a host in C on Linux that answers what it imports; nanoseconds, medians of rounds of 100 calls that
take turns. A period is 480 frames (10 ms, 3840 bytes): the timer that writes them through the gate, and their fetch. The host's own
locks, timers and requests are in these figures, so they are upper bounds; what Windows adds to each is not.

| | ns | 99th percentile |
|---|---|---|
"
    );
    for (what, spread) in [
        ("a period, live", &costs.live),
        ("a period, muted", &costs.muted),
        ("a feed of 480 frames", &costs.feed),
        (
            "a mute, which clears the whole ring and a buffer of two periods",
            &costs.mute,
        ),
        ("memcpy of as many bytes", &costs.memcpy),
        ("memset of as many bytes", &costs.memset),
    ] {
        let _ = writeln!(
            text,
            "| {what} | {:.0} | {:.0} |",
            spread.median, spread.p99
        );
    }
    let _ = write!(
        text,
        "
Memory: {} KiB of image, of which {} KiB can be written (ring, counts and state, all of fixed size), and {} bytes of pool. The audio
engine's buffer comes besides, as large as it asks for.
",
        costs.image >> 10,
        costs.writable >> 10,
        costs.allocated
    );
}
