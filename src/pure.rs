//! The rooms that import no AWS crate, as a crate by themselves: the root of the package in `benches/pure`, no part of
//! the library. That it builds is the proof that they import none, and what is measured with it builds no SDK.
#![forbid(unsafe_code)]

pub mod object;

pub mod decode;
pub mod event;

pub mod sink {
    //! Only the packing: where events go is an adapter's business.
    pub mod pack;
}

pub mod generate;
