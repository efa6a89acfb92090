//! What AWS sends.
