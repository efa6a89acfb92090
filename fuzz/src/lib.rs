//! What the fuzzer feeds: the pure rooms of the product, compiled without the rest of it, and an oracle for each.
//!
//! The rooms are taken in as source, because the library they belong to brings the AWS SDK along, which would build for
//! many minutes under a sanitizer. That they build here is also the proof that they import none of it.
#![forbid(unsafe_code)]

#[path = "../../src"]
mod rooms {
    pub mod decode;
    pub mod event;
    pub mod notification;
    pub mod object;
    pub mod sink {
        pub mod pack;
    }
}
// The rooms name each other from the crate's top.
pub use rooms::*;

pub mod oracle;
