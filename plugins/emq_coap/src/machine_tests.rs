//! Tests of the transport as a whole, at times of their own.

mod anything;
mod observing;
mod requests;
mod rig;
