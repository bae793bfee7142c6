//! The place that a check looks at, as a chain of steps on the stack: a path is built only when
//! there is a problem to tell.

use serde_json::Value;

use crate::problem::{FieldPath, Problem, Step};

/// One step, borrowed.
#[derive(Clone, Copy)]
enum StepAt<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

/// A place inside a document.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a Self>,
    step: StepAt<'a>,
}

impl<'a> At<'a> {
    /// The document itself.
    pub(crate) const ROOT: At<'static> = At { parent: None, step: StepAt::Root };

    /// One member deeper.
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: StepAt::Field(name) }
    }

    /// One element deeper.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: StepAt::Index(index) }
    }

    /// The whole way from the root.
    pub(crate) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(place) = at {
            match place.step {
                StepAt::Root => {}
                StepAt::Field(name) => steps.push(Step::Field(name.to_owned())),
                StepAt::Index(index) => steps.push(Step::Index(index)),
            }
            at = place.parent;
        }
        steps.reverse();
        FieldPath(steps)
    }

    pub(crate) fn invalid(&self, message: impl Into<String>) -> Problem {
        Problem::invalid(self.path(), message)
    }

    pub(crate) fn required(&self, message: impl Into<String>) -> Problem {
        Problem::required(self.path(), message)
    }

    pub(crate) fn duplicate(&self, message: impl Into<String>) -> Problem {
        Problem::duplicate(self.path(), message)
    }

    pub(crate) fn not_supported(&self, message: impl Into<String>) -> Problem {
        Problem::not_supported(self.path(), message)
    }

    /// The problem of a value that is not of the expected type.
    pub(crate) fn wrong_type(&self, expected: &str, found: &Value) -> Problem {
        self.invalid(super::words::wrong_type(expected, found))
    }
}
