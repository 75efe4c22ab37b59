//! The NAT's behaviour, a file an RFC or a part; each requirement that it fulfils has a test citing its number.

mod balanced;
mod fragments;
mod hostile;
mod leases;
mod ports;
mod rewrites;
mod rfc4787;
mod rfc5382;
mod rfc6888;
mod statics;
mod support;
