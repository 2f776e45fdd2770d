//! The mempool.

mod admission;

pub use admission::AdmissionError;
