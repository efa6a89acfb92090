//! A worker that makes a call only when it is let, so that something can happen between two of them.

use super::{Gate, Outcome, Wire, World};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use trailhose::object::ObjectRef;

/// One attempt at an object, under way.
pub struct Stepped<'a> {
    gate: Arc<Gate>,
    wire: Arc<Wire>,
    run: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
}

impl<'a> Stepped<'a> {
    /// Begins one, without a call yet.
    pub fn begin(world: &'a World, at: &ObjectRef) -> Self {
        let gate = Arc::<Gate>::default();
        let wire = Arc::new(Wire::behind(&gate, []));
        let (at, over) = (at.clone(), Arc::clone(&wire));
        Self { gate, wire, run: Box::pin(async move { world.ingest_over(&over, &at).await }) }
    }

    /// Lets it make its next call, and all it does before the one after.
    pub fn step(&mut self) -> Poll<Outcome> {
        self.gate.grant();
        self.run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Lets it make its calls up to the one of this number, from 0. Whether it ended.
    pub fn ends_by(&mut self, call: usize) -> bool {
        (0..=call).any(|_| self.step().is_ready())
    }

    /// Lets it go on to its end.
    pub fn finish(&mut self) -> Outcome {
        loop {
            if let Poll::Ready(outcome) = self.step() {
                return outcome;
            }
        }
    }

    /// The calls it has made.
    pub fn calls(&self) -> Vec<&'static str> {
        self.wire.calls()
    }
}
