//! The local cloud: the AWS services that the pipeline uses, on one loopback port, durable and with their limits.

pub mod wire;
