//! Whether what `truemute` counts is what its clients did (P5), through the real daemon: native clients that count
//! themselves ([`native`]). The rule by which both are compared is [`compare`].

mod compare;
mod native;
