//! What may be said when, on the control stream: one state machine for each end.
//!
//! ```text
//!   client:  Hello sent ──Evidence──▶ to be checked ──verified──▶ believed ──Proof sent──▶ Ready
//!                                                                   │  ▲                └─▶ Refused
//!                                                        HealthRequest Health
//!
//!   agent:   awaiting Hello ──▶ making Evidence ──▶ awaiting Proof ──▶ checking ──▶ accepted
//!                                                        │  ▲
//!                                              HealthRequest Health (a few)
//! ```
//!
//! Nothing here does I/O, knows a key or reads a clock: messages go in, messages and events come
//! out. The client's machine makes it impossible to prove anything before the evidence was
//! declared verified.

use thiserror::Error;

use crate::message::{
    Evidence, Health, HealthRequest, Hello, Message, Proof, Ready, Refused, RefusedReason,
};

/// How often a client may ask for the agent's health without proving itself: enough to watch it
/// come up, too little to keep it busy.
pub const HEALTH_REQUESTS_MAX: u32 = 8;

/// A message that is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The peer said something out of turn.
    #[error("a {message} message while {state}")]
    OutOfTurn {
        /// What it said.
        message: &'static str,
        /// What was expected.
        state: &'static str,
    },
    /// Our own side said something out of turn: a mistake in this program.
    #[error("{message} cannot be sent while {state}")]
    NotYet {
        /// What was to be said.
        message: &'static str,
        /// Where the handshake stands.
        state: &'static str,
    },
    /// The client asked for the agent's health more often than [`HEALTH_REQUESTS_MAX`].
    #[error("more than {HEALTH_REQUESTS_MAX} health requests")]
    TooManyHealthRequests,
}

/// The client's end.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    state: ClientState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    AwaitingEvidence,
    CheckingEvidence,
    Believing,
    AwaitingHealth,
    AwaitingVerdict,
    Ended,
}

/// What a message meant for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Check this; then call [`ClientHandshake::evidence_verified`], or close the connection.
    CheckEvidence(Evidence),
    /// The agent's health.
    Health(Health),
    /// Streams may be opened.
    Ready(Ready),
    /// It goes no further.
    Refused(Refused),
}

impl ClientHandshake {
    /// Begins: the first message to send.
    #[must_use]
    pub fn begin(software: &str) -> (Self, Message) {
        let hello = Hello { software: software.to_owned() };
        (Self { state: ClientState::AwaitingEvidence }, hello.into())
    }

    /// Takes a message of the agent.
    ///
    /// # Errors
    /// It was not its turn to say that.
    pub fn receive(&mut self, message: Message) -> Result<ClientEvent, HandshakeError> {
        let (state, event) = match (self.state, message) {
            (ClientState::AwaitingEvidence, Message::Evidence(evidence)) => {
                (ClientState::CheckingEvidence, ClientEvent::CheckEvidence(evidence))
            }
            (ClientState::AwaitingHealth, Message::Health(health)) => {
                (ClientState::Believing, ClientEvent::Health(health))
            }
            (ClientState::AwaitingVerdict, Message::Ready(ready)) => {
                (ClientState::Ended, ClientEvent::Ready(ready))
            }
            (
                ClientState::AwaitingEvidence
                | ClientState::AwaitingHealth
                | ClientState::AwaitingVerdict,
                Message::Refused(refused),
            ) => (ClientState::Ended, ClientEvent::Refused(refused)),
            (state, message) => {
                let (message, state) = (message.name(), state.words());
                return Err(HandshakeError::OutOfTurn { message, state });
            }
        };
        self.state = state;
        Ok(event)
    }

    /// The evidence is what was expected, bound to this connection.
    ///
    /// # Errors
    /// There is none to be checked.
    pub fn evidence_verified(&mut self) -> Result<(), HandshakeError> {
        self.step("a verdict", ClientState::CheckingEvidence, ClientState::Believing)
    }

    /// Asks for the agent's health.
    ///
    /// # Errors
    /// The evidence is not verified yet, or the proof was sent already.
    pub fn ask_for_health(&mut self) -> Result<Message, HandshakeError> {
        self.step("HealthRequest", ClientState::Believing, ClientState::AwaitingHealth)?;
        Ok(HealthRequest {}.into())
    }

    /// Sends the proof.
    ///
    /// # Errors
    /// The evidence is not verified yet, or a proof was sent already.
    pub fn prove(&mut self, proof: Proof) -> Result<Message, HandshakeError> {
        self.step("Proof", ClientState::Believing, ClientState::AwaitingVerdict)?;
        Ok(proof.into())
    }

    fn step(
        &mut self,
        message: &'static str,
        from: ClientState,
        to: ClientState,
    ) -> Result<(), HandshakeError> {
        if self.state != from {
            return Err(HandshakeError::NotYet { message, state: self.state.words() });
        }
        self.state = to;
        Ok(())
    }
}

impl ClientState {
    fn words(self) -> &'static str {
        match self {
            Self::AwaitingEvidence => "evidence is awaited",
            Self::CheckingEvidence => "the evidence is not verified",
            Self::Believing => "nothing is asked",
            Self::AwaitingHealth => "health is awaited",
            Self::AwaitingVerdict => "the verdict on the proof is awaited",
            Self::Ended => "the handshake is over",
        }
    }
}

/// The agent's end.
#[derive(Clone, Debug)]
pub struct AgentHandshake {
    state: AgentState,
    health_requests: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgentState {
    AwaitingHello,
    MakingEvidence,
    AwaitingProof,
    CheckingProof,
    Ended,
}

/// What a message means for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// Get a token for this connection; then call [`AgentHandshake::present`].
    MakeEvidence(Hello),
    /// Answer with [`AgentHandshake::health`].
    AnswerHealth,
    /// Check this; then call [`AgentHandshake::accept`] or [`AgentHandshake::refuse`].
    CheckProof(Proof),
}

impl Default for AgentHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentHandshake {
    /// Waits for a client's `Hello`.
    #[must_use]
    pub fn new() -> Self {
        Self { state: AgentState::AwaitingHello, health_requests: 0 }
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// It was not its turn to say that, or it asked too often.
    pub fn receive(&mut self, message: Message) -> Result<AgentEvent, HandshakeError> {
        match (self.state, message) {
            (AgentState::AwaitingHello, Message::Hello(hello)) => {
                self.state = AgentState::MakingEvidence;
                Ok(AgentEvent::MakeEvidence(hello))
            }
            (AgentState::AwaitingProof, Message::HealthRequest(HealthRequest {})) => {
                if self.health_requests == HEALTH_REQUESTS_MAX {
                    return Err(HandshakeError::TooManyHealthRequests);
                }
                self.health_requests += 1;
                Ok(AgentEvent::AnswerHealth)
            }
            (AgentState::AwaitingProof, Message::Proof(proof)) => {
                self.state = AgentState::CheckingProof;
                Ok(AgentEvent::CheckProof(proof))
            }
            (state, message) => {
                let (message, state) = (message.name(), state.words());
                Err(HandshakeError::OutOfTurn { message, state })
            }
        }
    }

    /// Presents the evidence.
    ///
    /// # Errors
    /// The client has not asked for it.
    pub fn present(&mut self, evidence: Evidence) -> Result<Message, HandshakeError> {
        self.step("Evidence", &[AgentState::MakingEvidence], AgentState::AwaitingProof)?;
        Ok(evidence.into())
    }

    /// Answers a request for health.
    ///
    /// # Errors
    /// There was none that could be answered now.
    pub fn health(&mut self, health: Health) -> Result<Message, HandshakeError> {
        self.step("Health", &[AgentState::AwaitingProof], AgentState::AwaitingProof)?;
        Ok(health.into())
    }

    /// The proof is right.
    ///
    /// # Errors
    /// There was none.
    pub fn accept(&mut self, ready: Ready) -> Result<Message, HandshakeError> {
        self.step("Ready", &[AgentState::CheckingProof], AgentState::Ended)?;
        Ok(ready.into())
    }

    /// It goes no further.
    ///
    /// # Errors
    /// It is not the agent's turn.
    pub fn refuse(
        &mut self,
        reason: RefusedReason,
        message: &str,
    ) -> Result<Message, HandshakeError> {
        let turns = [AgentState::MakingEvidence, AgentState::CheckingProof];
        self.step("Refused", &turns, AgentState::Ended)?;
        Ok(Refused { reason, message: message.to_owned() }.into())
    }

    fn step(
        &mut self,
        message: &'static str,
        from: &[AgentState],
        to: AgentState,
    ) -> Result<(), HandshakeError> {
        if !from.contains(&self.state) {
            return Err(HandshakeError::NotYet { message, state: self.state.words() });
        }
        self.state = to;
        Ok(())
    }
}

impl AgentState {
    fn words(self) -> &'static str {
        match self {
            Self::AwaitingHello => "Hello is awaited",
            Self::MakingEvidence => "evidence is being made",
            Self::AwaitingProof => "a proof is awaited",
            Self::CheckingProof => "the proof is being checked",
            Self::Ended => "the handshake is over",
        }
    }
}
