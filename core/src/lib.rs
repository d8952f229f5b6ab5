//! TrueMute's core: what decides between live and silent, what counts, and the records of both.
//! Nothing here knows an operating system, a clock, an allocator or a lock; time comes in as nanoseconds.
//!
//! A buffer's way through it, once per client or (where the audio server copies for all clients) once per cycle:
//!
//! 1. The audio thread has this cycle's block of the real mic, or knows that there is none ([`gate::Source`]), and asks
//!    [`gate::Gate::begin`]. The gate decides by three things that must all hold: the last command was an unmute, the
//!    lease has not run out, and the capture of the block began at or after the unmute. Everything else is silence.
//! 2. After every other processing step, [`gate::Delivery::fill`] writes into the client's buffer: zero bytes, or the block.
//!    After the block it looks again, and if the state has changed, the zeros go over it.
//! 3. When the client has completed its cycle, its slot's writer counts it ([`ledger::Ledger::record`]), as live or muted.
//!
//! Meanwhile, on other threads: whoever mutes calls [`gate::Gate::mute`], which works at once, and acknowledges it when
//! [`gate::Gate::settled`] finds the deliveries from before at their end. The daemon renews the lease, so that its death
//! or hang silences. Clients come and go by [`ledger::Ledger::claim`] and [`ledger::Ledger::release`], and
//! [`ledger::Ledger::snapshot`] reads their counts without ever holding up a writer. Where the cycles are, the audio thread
//! tells through [`published::Published`].
//!
//! ```
//! use truemute_core::gate::{Decision, Gate, SilentReason, Source};
//! use truemute_core::ledger::{Ledger, Pull};
//!
//! static GATE: Gate = Gate::new();
//! static LEDGER: Ledger<4> = Ledger::new(1);
//! let mut writer = LEDGER.claim(7).expect("a slot is free");
//! let mut cycle = |now_ns, began_ns| {
//!     let mut buffer = [0xff; 8];
//!     let delivery = GATE.begin(now_ns, Source::Block { began_ns });
//!     let decision = delivery.fill(&mut buffer, |buffer| buffer.fill(0x55));
//!     let live = matches!(decision, Decision::Live(_));
//!     LEDGER.record(&mut writer, Pull { finish_ns: now_ns, frames: 2, nanoseconds: 41_667, live, flagged: false });
//!     assert_eq!(buffer, if live { [0x55; 8] } else { [0; 8] });
//!     decision
//! };
//!
//! assert_eq!(cycle(10, 5), Decision::Silent(SilentReason::Muted)); // silent by default
//! let epoch = GATE.unmute(20);
//! assert_eq!(cycle(25, 22), Decision::Silent(SilentReason::LeaseExpired)); // nobody answers for it
//! GATE.renew_lease(1000);
//! assert_eq!(cycle(30, 15), Decision::Silent(SilentReason::BeforeUnmute)); // captured too early
//! assert_eq!(cycle(40, 30), Decision::Live(epoch));
//! let muted = GATE.mute();
//! assert!(GATE.settled(muted)); // no delivery is in flight: the mute can be acknowledged
//! assert_eq!(cycle(50, 40), Decision::Silent(SilentReason::Muted));
//!
//! let counts = LEDGER.snapshot(0).expect("client 7");
//! assert_eq!((counts.client, counts.live.pulls, counts.muted.pulls), (7, 1, 4));
//! ```
//!
//! What shows that it holds: property tests against a plain model (`tests/properties.rs`), loom's run of all
//! interleavings and memory orders (`tests/loom.rs`), a count of allocations (`tests/allocation.rs`), and a library that
//! links only without std and without a way to panic (`tests/freestanding.rs`).
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::float_arithmetic
    )
)]

mod atomic;
pub mod gate;
pub mod histogram;
mod in_flight;
pub mod ledger;
pub mod local_ring;
#[cfg(feature = "std")]
pub mod observed;
pub mod published;
pub mod shared_ring;
