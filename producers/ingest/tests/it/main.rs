//! The collection API from outside: a real router over a real producer over a small Kinesis on a local port.

#[cfg(test)]
mod access;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod events_around;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod fuzz_call;
#[cfg(test)]
mod lambda;
#[cfg(test)]
mod large;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod shedding;
#[cfg(test)]
mod singles;
#[cfg(test)]
mod spool;
#[cfg(test)]
mod stream;
