//! `truemute top`: the live table on a terminal.
