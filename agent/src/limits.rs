//! Every bound of the agent, with its reason.
//!
//! ```text
//!   datagram ─▶ Incoming ─▶ TLS handshake ─▶ Hello, Evidence, Proof ─▶ commands
//!              INCOMING_*   UNVALIDATED_MAX   UNPROVEN_*              COMMANDS_*
//!                           └───────── PROOF_PATIENCE ─────────┘
//! ```

use std::time::Duration;

use vault_protocol::message::TAKEN_EVERY_BYTES;

// Before a connection exists.

/// Connection attempts that wait for the accept loop. It decides at once, so this is its slack while
/// the machine is busy; further attempts are dropped, and clients repeat them.
pub const INCOMING_MAX: usize = 128;

/// What is kept of one attempt while it waits: the client's first flight, which is one or two
/// datagrams of 1.2 to 1.5 KiB, repeated a few times.
pub const INCOMING_BUFFER_BYTES: u64 = 64 << 10;

/// What is kept of all attempts that wait.
pub const INCOMING_BUFFERS_BYTES: u64 = 4 << 20;

/// Handshakes at once with peers that have not shown that they receive at their address. From then
/// on a newcomer has to (by a Retry packet, RFC 9000 §8.1.2), so that invented addresses cost
/// nothing more.
pub const UNVALIDATED_MAX: usize = 32;

// Connections.

/// Connections at once, with and without proof. One costs some 50 KiB while it is idle.
pub const CONNECTIONS_MAX: usize = 1024;

/// Connections without proof at once. At [`PROOF_PATIENCE`] this lets more than fifty clients a
/// second in that take all of their time; honest ones take a few milliseconds.
pub const UNPROVEN_MAX: usize = 256;

/// Connections without proof from one source: a quarter of all, so that no single source can push
/// the others out.
pub const UNPROVEN_PER_SOURCE_MAX: usize = 64;

/// From the first packet to a right proof: one round trip for TLS, one for evidence, which the
/// platform gives in less than a second, one for the proof.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may be silent. Without proof [`PROOF_PATIENCE`] is shorter. Clients that
/// want to keep a connection send keep-alives, and may ask for a shorter timeout.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a last word may take to be acknowledged before the connection is closed over it.
pub const DELIVERY_PATIENCE: Duration = Duration::from_secs(2);

// Streams and windows.

/// Bidirectional streams before the proof: the control stream.
pub const STREAMS_BEFORE_PROOF: u32 = 1;

/// What a connection may send before the proof and before we have read it: four times the largest
/// frame that is allowed then.
pub const WINDOW_BYTES_BEFORE_PROOF: u32 = 64 << 10;

/// Commands at once on one connection: a bidirectional stream each, beside the control stream.
pub const COMMANDS_PER_CONNECTION_MAX: u32 = 256;

/// Forwarded connections at once on one connection: a bidirectional stream each. Streams are counted
/// together with those of commands, whichever they are for.
pub const FORWARDS_PER_CONNECTION_MAX: u32 = 256;

/// One-way streams at once from one client: one standard input per command.
pub const CHANNELS_PER_CONNECTION_MAX: u32 = 256;

/// Commands at once in all, with four descriptors each. If the machine's own limits are lower, a
/// command that finds no room is refused in the same words.
pub const COMMANDS_MAX: usize = 1024;

/// What one stream may send ahead of our reading: 400 Mbit/s over 80 ms. Before the proof the
/// window of the connection is the tighter one.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// What a connection may send ahead of our reading, once proven: four such streams.
pub const WINDOW_BYTES: u32 = 16 << 20;

/// What we send ahead of the client's acknowledgements, over all streams of a connection.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// How long the first frame of a stream may take to arrive after the stream did. They are sent
/// together.
pub const FIRST_FRAME_PATIENCE: Duration = Duration::from_secs(5);

/// How long a standard input may wait for its command. They are sent together, but a machine that is
/// short of memory may take its time to start a process.
pub const INPUT_PATIENCE: Duration = Duration::from_secs(20);

/// The payload of an `Attach` frame: two small numbers.
pub const ATTACH_PAYLOAD_BYTES_MAX: usize = 64;

// The socket.

/// The socket's buffers: what arrives or leaves in 30 ms at 1 Gbit/s. The kernel may give less.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The size of packets until path MTU discovery found better: what every path of QUIC carries.
pub const INITIAL_MTU: u16 = 1200;

// Commands.

/// The size of the pipes to and from a command, if the kernel gives as much: fewer turns between
/// the command and us.
pub const PIPE_BYTES: usize = 1 << 20;

/// What is read from a command's output at once.
pub const READ_BYTES: usize = 256 << 10;

/// With less room than this left, a new buffer is taken: small writes share one buffer.
pub const READ_BYTES_MIN: usize = 64 << 10;

/// Commands that wait for the thread which starts them, at half a millisecond each.
pub const SPAWN_QUEUE_MAX: usize = 64;

/// How long the thread that starts commands may take for one, with all that wait before it. It takes
/// milliseconds; a workload can keep its own thread waiting, by a filesystem that does not answer.
pub const SPAWN_PATIENCE: Duration = Duration::from_secs(30);

/// What is read of a table of users or groups: some forty thousand lines.
pub const ACCOUNTS_BYTES_MAX: u64 = 4 << 20;

/// How long a stage may take to become the command of another user. It takes a millisecond; only that
/// user can stop it, and then the command does not run.
pub const STAGE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a process group may take to end after SIGHUP, when its client is gone.
pub const HANGUP_GRACE: Duration = Duration::from_secs(5);

/// How long a process group may take to end after SIGTERM, when the agent ends, if nothing else is
/// configured.
pub const TERMINATION_GRACE: Duration = Duration::from_secs(5);

/// How long outputs may stay open after SIGKILL: processes that have left the group hold them.
pub const KILLED_OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// How often we look whether anybody is left in a process group that is to end.
pub const GROUP_POLL: Duration = Duration::from_millis(50);

// Sessions.

/// What a session's output may have that its client does not: 640 Mbit/s over 100 ms. Then the command
/// has to wait.
pub const UNTAKEN_BYTES_MAX: u64 = 8 << 20;

/// What all outputs may keep together. From then on [`UNTAKEN_BYTES_EACH`] is the bound of each: machines
/// begin at 256 MiB.
pub const KEPT_BYTES_TOGETHER: u64 = 64 << 20;

/// What each output may always have that its client does not. Clients speak up sooner.
pub const UNTAKEN_BYTES_EACH: u64 = 2 * TAKEN_EVERY_BYTES;

/// What is kept of an output that its client has, for the next one who comes to see: some thousand lines.
pub const SCROLLBACK_BYTES: u64 = 256 << 10;

/// What is kept of an output while nobody waits for it: then the oldest bytes make room.
pub const DETACHED_BYTES_MAX: u64 = 1 << 20;

/// The longest that a session may wait for a client that was lost.
pub const LINGER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long one can ask how a session ended that nobody was attached to.
pub const ENDED_SESSION_KEPT: Duration = Duration::from_secs(600);

/// Ended sessions that are kept for that; the oldest makes room.
pub const ENDED_SESSIONS_MAX: usize = 64;

/// The longest name of a session, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

// Forwarded connections.

/// Forwarded connections at once in all, with one descriptor each.
pub const FORWARDS_MAX: usize = 1024;

/// How long a dial may take in all, name and addresses: a little less than clients of most programs
/// wait themselves, and enough for a packet that was lost twice (1 s and 2 s until it is repeated).
pub const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// Lookups of names at once: a thread each, for as long as the system's resolver takes.
pub const LOOKUPS_MAX: usize = 32;

/// Addresses of one name that are tried: more could not each get a second.
pub const ADDRESSES_MAX: usize = 8;

/// How often a unix socket is tried whose queue is full.
pub const BACKLOG_POLL: Duration = Duration::from_millis(10);

// Files.

/// Copies at once in all: a thread each, some 4 MiB of chunks, and at most 129 descriptors. Half of the
/// threads that wait for disks on behalf of everything else.
pub const COPIES_MAX: usize = 32;

// Evidence.

/// The longest token: what fits into a frame before the proof, with room for the other fields.
pub const TOKEN_BYTES_MAX: usize = vault_protocol::frame::PAYLOAD_BYTES_MAX_BEFORE_PROOF - 1024;

/// How long the platform may take for a token: what [`PROOF_PATIENCE`] leaves beside the client's
/// part.
pub const TOKEN_PATIENCE: Duration = Duration::from_secs(4);

/// Requests for tokens at once: strangers cause them, and the platform counts requests.
pub const TOKEN_REQUESTS_MAX: usize = 8;

// Penalties.

/// Sources that are remembered for wrong proofs: 4,096 of some 64 bytes. The one that failed
/// longest ago makes room.
pub const PENALTIES_MAX: usize = 4096;

/// What one wrong proof adds to a source's penalty.
pub const PENALTY_PER_FAILURE: Duration = Duration::from_secs(5);

/// From here on a source is turned away, until its penalty is over: the third wrong proof at once.
pub const PENALTY_REFUSED_FROM: Duration = Duration::from_secs(15);

/// The longest penalty.
pub const PENALTY_MAX: Duration = Duration::from_secs(600);

/// How long a source that has proved itself is not turned away for wrong proofs: others behind the
/// same address could keep its operators out. A day's work, and the night.
pub const PROVEN_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Sources that are remembered for right proofs. One with the tenant's key has to have been there,
/// so there are few.
pub const PROVEN_SOURCES_MAX: usize = 1024;

// The secret.

/// The text of a secret has 43 bytes; what is longer than this is not read on.
pub const SECRET_TEXT_BYTES_MAX: usize = 256;

// The audit log.

/// Records that wait for the disk: what a thousand commands cause in a second in which it does not
/// answer. Further ones are counted.
pub const AUDIT_QUEUE_MAX: usize = 4096;

/// Records that are brought to the disk together.
pub const AUDIT_BATCH_MAX: usize = 256;

/// A file of records; then a new one is begun.
pub const AUDIT_FILE_BYTES: u64 = 4 << 20;

/// Files that are kept: 64 MiB in all, some 200,000 records.
pub const AUDIT_FILES_MAX: usize = 16;

/// What a record keeps of a name that a client chose, in bytes.
pub const AUDIT_TEXT_BYTES_MAX: usize = 1024;

/// Wrong proofs that are recorded at once; further ones are counted.
pub const AUDIT_REFUSED_BURST: u32 = 60;

/// One more wrong proof is recorded after this time. At that rate strangers need ten months to push
/// everything else out.
pub const AUDIT_REFUSED_EVERY: Duration = Duration::from_secs(120);

/// How long the last records may take to reach the disk when the agent ends.
pub const AUDIT_FLUSH_PATIENCE: Duration = Duration::from_secs(2);

// Root filesystems.

/// What is read of the file that says which root filesystem is in use. It has some 300 bytes.
pub const ROOTS_STATE_BYTES_MAX: u64 = 16 << 10;

/// How often a new root filesystem is booted before the previous one is restored, if the machine or
/// the agent ends each time before it has worked: one boot may be cut short by somebody who stops the
/// machine, a second one hardly.
pub const TRIAL_BOOTS_MAX: u32 = 3;

// Helpers.

/// What a helper may say at once: a text for people, with the name of an archive's entry in it.
pub const REPORT_BYTES_MAX: usize = 32 << 10;

// The workload.

/// How long a root filesystem may take from its namespaces to its own init process. It takes some ten
/// milliseconds; a volume that is being checked may take longer.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to hear that an init process has ended, once that shows.
pub const LAST_WORD_PATIENCE: Duration = Duration::from_secs(1);

/// How long a new root filesystem's init process has to live before the previous one is removed: one
/// that lacks a library or its configuration ends at once.
pub const BOOT_PROVEN_AFTER: Duration = Duration::from_secs(2);

/// How long after its end a workload is booted again, the first time; then twice as long each time.
pub const BOOT_BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest such wait. A workload that ran for that long has no past.
pub const BOOT_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How long a workload's processes may take to be gone after SIGKILL to its init process.
pub const KILLED_WORKLOAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a workload gets to end before another root filesystem takes its place.
pub const REPLACED_GRACE: Duration = Duration::from_secs(10);

// Provisioning.

/// The bytes of an archive: large development environments have some 5 GiB, compressed.
pub const ARCHIVE_BYTES_MAX: u64 = 32 << 30;

/// How long an archive that broke off waits for the rest of it: a client that has lost its network
/// comes back within a minute, or asks a person.
pub const PARKED_ARCHIVE_PATIENCE: Duration = Duration::from_secs(120);

/// How long a connection may take to let go of an archive that another one wants to go on with.
pub const TAKE_OVER_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes unpacked from one word about it to the next.
pub const PROGRESS_BYTES: u64 = 4 << 20;

/// Entries made from one word about it to the next.
pub const PROGRESS_ENTRIES: u64 = 1000;

/// What is told of why an archive is refused. An entry's name, escaped, may be four times as long as the
/// 4 KiB that it has, and fits into a report.
pub const REFUSAL_CHARACTERS_MAX: usize = 4096;

/// Descriptors of the helper that unpacks: it keeps some seventy.
pub const UNPACK_FILES_MAX: u64 = 256;

/// Memory of the helper that unpacks: 256 MiB for folders' attributes, 128 MiB for zstd's window, and
/// what the allocator sets aside for its threads.
pub const UNPACK_MEMORY_MAX: u64 = 2 << 30;
