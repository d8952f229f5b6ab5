//! `truemute demo`: the whole product on a private audio server with a simulated mic and real clients.
