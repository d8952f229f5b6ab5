//! What the end-to-end tests and benchmarks share: recording clients that count and log ([`recorder`], [`tape`]), what
//! their logs prove ([`evidence`], [`counted`]), clients of every kind that come back ([`listening`]), that meddle with
//! everything ([`meddler`]), look at it ([`onlooker`]) or try to get round the virtual mic ([`attempts`], [`guarded`]), effects
//! ([`effects`]), browsers ([`browser`]) with a page that records ([`page`]), the servers to run against ([`servers`]), the
//! real program ([`truemute`], [`threads`]) and the whole set of a test ([`stage`]), other processes of it ([`part`]); the hosts
//! in C ([`c_host`]) that drive what we ship for macOS ([`hal_host`]) and Windows ([`nt_host`]), and the Windows driver's portable
//! parts with an audio engine ([`windows`]). The private server itself is
//! `truemute_pipewire::rehearsal`.

pub mod append;
pub mod attempts;
pub mod browser;
pub mod c_host;
pub mod counted;
pub mod effects;
pub mod evidence;
pub mod guarded;
pub mod hal_host;
pub mod listening;
pub mod meddler;
pub mod nt_host;
pub mod onlooker;
pub mod page;
pub mod part;
pub mod plugin;
pub mod recorder;
pub mod servers;
pub mod stage;
pub mod tape;
pub mod threads;
pub mod truemute;
pub mod windows;
pub mod wine;
