//! What is wrong with a document, and where in it.

use std::fmt;

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A member of a mapping.
    Field(String),
    /// An element of a sequence, from 0.
    Index(usize),
}

/// The way from a document's root to one of its values; prints as `spec.machines[0].region`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    /// This path, one member deeper.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    /// This path, one element deeper.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if position == 0 => write!(formatter, "{name}")?,
                Step::Field(name) => write!(formatter, ".{name}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The kind of a problem: picks the `reason` of a Kubernetes status cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The field is unknown, of a wrong type or out of range.
    Invalid,
    /// The field is missing.
    Required,
    /// The same name stands twice.
    Duplicate,
    /// Real, but this version of vaultctl cannot do it yet.
    NotSupported,
}

impl ProblemKind {
    /// The `reason` of the cause in a Kubernetes Status.
    #[must_use]
    pub fn cause_reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
        }
    }
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document. For an unknown field: the unknown field itself.
    pub path: FieldPath,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// One sentence for people, with the nearest known name where one is near.
    pub message: String,
}

impl Problem {
    /// A problem of kind [`ProblemKind::Invalid`].
    #[must_use]
    pub fn invalid(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, kind: ProblemKind::Invalid, message: message.into() }
    }

    /// A problem of kind [`ProblemKind::Required`].
    #[must_use]
    pub fn required(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, kind: ProblemKind::Required, message: message.into() }
    }

    /// A problem of kind [`ProblemKind::Duplicate`].
    #[must_use]
    pub fn duplicate(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, kind: ProblemKind::Duplicate, message: message.into() }
    }

    /// A problem of kind [`ProblemKind::NotSupported`].
    #[must_use]
    pub fn not_supported(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, kind: ProblemKind::NotSupported, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.0.is_empty() {
            write!(formatter, "{}", self.message)
        } else {
            write!(formatter, "{}: {}", self.path, self.message)
        }
    }
}
