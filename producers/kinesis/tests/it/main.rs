//! The producer as its callers see it, against an HTTP server that speaks the protocol of Kinesis and fails on demand.

#[cfg(test)]
mod delivery;
#[cfg(test)]
mod fake_kinesis;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod spool;
#[cfg(test)]
mod spool_kills;
#[cfg(test)]
mod spool_marks;
