//! How every pull of every client is counted. What is counted, and not who the client is (`who/`) nor what the gate
//! decided (`truemute_core`).
