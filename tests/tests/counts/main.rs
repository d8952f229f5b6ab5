//! Whether what `truemute` counts is what its clients did (P5), through the real daemon: native clients that count
//! themselves ([`native`]), people's programs ([`apps`]), those that cork ([`corked`]) or are
//! not waited for ([`asynchronous`]), the single pulls ([`traced`]), the history ([`history`]), and
//! what the profiler estimates ([`estimated`]). The rule by which two counts are compared is
//! `truemute_tests::counted`.

mod apps;
mod asynchronous;
mod corked;
mod estimated;
mod history;
mod native;
mod traced;
