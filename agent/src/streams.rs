//! What clients may do once they have proved themselves, a stream each.

pub(crate) mod exec;

pub(crate) mod output;

pub(crate) mod input;

pub(crate) mod rendezvous;
