//! With the silent twin installed, whoever records from the virtual mic gets zeros while no daemon serves it, and is back on
//! it by itself when one does (P2, P7).

mod away;
mod clients;
mod elsewhere;
mod twin;
