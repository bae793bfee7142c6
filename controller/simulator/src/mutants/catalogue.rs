//! The list of broken controllers: what each one does, which failure it repeats, where it is put in.

/// Where a controller is bent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    /// What it sees of the platform and does there.
    Platform,
    /// What it reads from its disk and writes to it.
    Store,
    /// Its time and its chance.
    Clock,
    /// What its processes are started with.
    Process,
}

impl Seam {
    /// The seam's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Store => "store",
            Self::Clock => "clock",
            Self::Process => "process",
        }
    }
}

/// How a controller is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// A creation whose answer is unknown since a restart is never decided.
    RefusesWhatItCannotDetermine,
    /// Open intents of earlier processes are not read.
    ForgetsItsJournalAtARestart,
    /// Open intents are never read.
    NeverReadsItsJournal,
    /// A destruction without an answer counts as done, and its machine as gone.
    BelievesThatLostDeletesWorked,
    /// Its identity is not derived: a new database is a new controller.
    KeepsItsIdentityInTheDatabase,
    /// Machines are stopped and destroyed by name, whichever has it now.
    ActsByNameAlone,
    /// Machines are stopped by name, in whatever app one is called so.
    ActsByNameAcrossApps,
    /// Only what came back in an answer exists.
    KnowsOnlyItsStateFile,
    /// After one 408 of an update nothing more is updated in that app.
    GivesUpAfterAPassingFailure,
    /// Volumes that no machine holds are not seen.
    OverlooksFreeVolumes,
    /// Volumes that no machine holds are not seen, and an app goes with whatever is in it.
    DeletesAppsUnlooked,
    /// An update leaves something of what was there before.
    MergesInsteadOfReplacing,
    /// A machine is destroyed together with its volume.
    DeletesVolumesWithMachines,
    /// `error_regions` is not read.
    BelievesListsWithoutARegion,
    /// Rows that cannot be read are not missed.
    BelievesListsWithHoles,
    /// What a list does not show is gone; nothing is asked for by name or by id.
    BelievesEmptyLists,
    /// A call without an answer is made again at once.
    RepeatsLostCalls,
    /// A call without an answer is not waited for.
    WaitsForNoCall,
    /// The intent is written when the answer is there.
    JournalsAfterTheCall,
    /// The intent is on its way to the disk when the call leaves.
    SaysThatSentIsDurableTooSoon,
    /// Acknowledgements stand in memory only.
    KeepsAnswersInMemory,
    /// An answer counts as seen in the lists.
    VerifiesWithoutLooking,
    /// As many machines at once as there are.
    IgnoresTheBudget,
    /// Tombstones have no grace.
    IgnoresTheGrace,
    /// Its clock runs ten times too fast.
    ItsClockRunsTooFast,
    /// What is deleted is not marked first, and cannot have been taken back.
    DoomsWithoutAMark,
    /// Machines that carry another controller's mark are its own.
    TakesWhatIsCalledLikeIts,
    /// The ids of intents are not drawn anew.
    DrawsTheSameIdsAgain,
    /// Every fifth time nothing is known of secrets.
    ForgetsSecretsNowAndThen,
    /// Now and then it sees its running machines stopped.
    SeesItsMachinesStoppedNowAndThen,
    /// Which numbers of credentials were used is not kept.
    ForgetsUsedNumbers,
    /// A credential's acknowledgement is stored without its value.
    AcknowledgesWithoutTheValue,
    /// Revocations are told and not made.
    RevokesNothing,
}

/// A broken controller.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it repeats.
    pub imitates: &'static str,
    /// Where it is bent.
    pub seam: Seam,
    /// How.
    pub mutation: Mutation,
    /// Where it is hunted.
    pub ground: Ground,
}

/// Where a broken controller is hunted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// In seeds, in whatever stories they tell.
    Seeds,
    /// In seeds, in this story.
    Story(&'static str),
    /// In the crash matrix of this story: for what needs two things to go wrong at one moment.
    Matrix(&'static str),
    /// In that part of it in which lists are what goes wrong.
    Lists(&'static str),
}

impl Ground {
    /// The story, if it is a certain one.
    #[must_use]
    pub fn story(self) -> Option<&'static str> {
        match self {
            Self::Seeds => None,
            Self::Story(story) | Self::Matrix(story) | Self::Lists(story) => Some(story),
        }
    }
}

/// A known failure that no mutant repeats.
#[derive(Clone, Copy, Debug)]
pub struct Inexpressible {
    /// Which.
    pub failure: &'static str,
    /// Why not.
    pub why: &'static str,
}

const fn mutant(
    name: &'static str,
    imitates: &'static str,
    seam: Seam,
    mutation: Mutation,
    ground: Ground,
) -> Mutant {
    Mutant { name, imitates, seam, mutation, ground }
}

/// All broken controllers: first those of the field, then the rules of this design.
pub const MUTANTS: [Mutant; 33] = [
    mutant(
        "stuck-after-create",
        "killed during a creation, and stuck on it for ever (crossplane#3037, crossplane-runtime#340)",
        Seam::Store,
        Mutation::RefusesWhatItCannotDetermine,
        Ground::Seeds,
    ),
    mutant(
        "journal-lost-at-restart",
        "a restart during a creation, and the creation is repeated (upjet#305, upjet#561)",
        Seam::Store,
        Mutation::ForgetsItsJournalAtARestart,
        Ground::Matrix("scale"),
    ),
    mutant(
        "delete-believed",
        "a deletion is told as done, and the object is still there (upjet#304)",
        Seam::Platform,
        Mutation::BelievesThatLostDeletesWorked,
        Ground::Story("delete"),
    ),
    mutant(
        "name-lost",
        "the external name is lost with the database, and a new object is made (provider-upjet-aws#1482)",
        Seam::Process,
        Mutation::KeepsItsIdentityInTheDatabase,
        Ground::Seeds,
    ),
    mutant(
        "deletes-successor",
        "a stale read after a re-creation deletes the live successor (rabbitmq/cluster-operator#648)",
        Seam::Platform,
        Mutation::ActsByNameAlone,
        Ground::Story("region-at-rest"),
    ),
    mutant(
        "state-file",
        "killed in the middle of an apply: an orphan, and retries that end in 409 (terraform#31258)",
        Seam::Platform,
        Mutation::KnowsOnlyItsStateFile,
        Ground::Seeds,
    ),
    mutant(
        "gives-up-at-408",
        "a passing 408 ends a rolling deployment half-way (flyctl#5096)",
        Seam::Platform,
        Mutation::GivesUpAfterAPassingFailure,
        Ground::Story("image"),
    ),
    mutant(
        "volume-left",
        "the machine is destroyed, and its volume goes on being billed (leerie#66)",
        Seam::Platform,
        Mutation::OverlooksFreeVolumes,
        Ground::Story("bury"),
    ),
    mutant(
        "region-missing",
        "a list without a region is believed (`error_regions`)",
        Seam::Platform,
        Mutation::BelievesListsWithoutARegion,
        Ground::Lists("two-regions"),
    ),
    mutant(
        "list-empty",
        "a list that is suddenly empty, or late, is believed",
        Seam::Platform,
        Mutation::BelievesEmptyLists,
        Ground::Seeds,
    ),
    mutant(
        "list-with-holes",
        "a list with rows that cannot be read is believed",
        Seam::Platform,
        Mutation::BelievesListsWithHoles,
        Ground::Lists("two-regions"),
    ),
    mutant(
        "journal-never-read",
        "the journal is written, and nobody looks what became of it",
        Seam::Store,
        Mutation::NeverReadsItsJournal,
        Ground::Matrix("volume"),
    ),
    mutant(
        "repeats-blindly",
        "what was sent and has no answer is sent again, without a look",
        Seam::Platform,
        Mutation::RepeatsLostCalls,
        Ground::Seeds,
    ),
    mutant(
        "does-not-wait",
        "a call without an answer is taken for one that never acts",
        Seam::Process,
        Mutation::WaitsForNoCall,
        Ground::Seeds,
    ),
    mutant(
        "journal-after-call",
        "the effect comes before the intent",
        Seam::Store,
        Mutation::JournalsAfterTheCall,
        Ground::Seeds,
    ),
    mutant(
        "sent-not-durable",
        "the intent is on its way to the disk when the call leaves",
        Seam::Store,
        Mutation::SaysThatSentIsDurableTooSoon,
        Ground::Seeds,
    ),
    mutant(
        "ack-not-durable",
        "an acknowledgement that a death of the process loses",
        Seam::Store,
        Mutation::KeepsAnswersInMemory,
        Ground::Seeds,
    ),
    mutant(
        "verifies-unseen",
        "an effect counts as seen although nobody looked",
        Seam::Store,
        Mutation::VerifiesWithoutLooking,
        Ground::Lists("image"),
    ),
    mutant(
        "budget-ignored",
        "everything is updated at once",
        Seam::Process,
        Mutation::IgnoresTheBudget,
        Ground::Story("four-tenants"),
    ),
    mutant(
        "grace-ignored",
        "what is deleted has no grace",
        Seam::Process,
        Mutation::IgnoresTheGrace,
        Ground::Story("bury"),
    ),
    mutant(
        "fast-clock",
        "a clock that runs too fast matures tombstones",
        Seam::Clock,
        Mutation::ItsClockRunsTooFast,
        Ground::Story("bury"),
    ),
    mutant(
        "dooms-unmarked",
        "what is deleted is not marked first: `undelete` comes too late and does not know",
        Seam::Store,
        Mutation::DoomsWithoutAMark,
        Ground::Story("bury"),
    ),
    mutant(
        "volume-with-machine",
        "a volume goes with its machine, without a tombstone",
        Seam::Platform,
        Mutation::DeletesVolumesWithMachines,
        Ground::Seeds,
    ),
    mutant(
        "app-with-volumes",
        "an app is deleted for empty, and takes volumes along",
        Seam::Platform,
        Mutation::DeletesAppsUnlooked,
        Ground::Story("bury"),
    ),
    mutant(
        "update-merges",
        "an update leaves something of what was there before: A, B and A again is not A",
        Seam::Platform,
        Mutation::MergesInsteadOfReplacing,
        Ground::Story("there-and-back"),
    ),
    mutant(
        "takes-foreign",
        "a machine of another controller is taken for its own",
        Seam::Platform,
        Mutation::TakesWhatIsCalledLikeIts,
        Ground::Seeds,
    ),
    mutant(
        "name-across-apps",
        "a machine is known by its name alone, whosesoever app it is in",
        Seam::Platform,
        Mutation::ActsByNameAcrossApps,
        Ground::Story("stop"),
    ),
    mutant(
        "ids-repeat",
        "two intents have one id",
        Seam::Clock,
        Mutation::DrawsTheSameIdsAgain,
        Ground::Story("four-tenants"),
    ),
    mutant(
        "flaps",
        "something is found changed now and then that nobody changed",
        Seam::Store,
        Mutation::ForgetsSecretsNowAndThen,
        Ground::Seeds,
    ),
    mutant(
        "never-rests",
        "a machine that runs is found stopped now and then, and is started again",
        Seam::Platform,
        Mutation::SeesItsMachinesStoppedNowAndThen,
        Ground::Seeds,
    ),
    mutant(
        "number-used-twice",
        "a credential's number is used again, for another value",
        Seam::Store,
        Mutation::ForgetsUsedNumbers,
        Ground::Story("tokens"),
    ),
    mutant(
        "ack-without-value",
        "a credential is acknowledged, and its only showing is not kept",
        Seam::Store,
        Mutation::AcknowledgesWithoutTheValue,
        Ground::Story("tokens"),
    ),
    mutant(
        "revokes-nothing",
        "a credential is forgotten, and still opens its app",
        Seam::Platform,
        Mutation::RevokesNothing,
        Ground::Story("tokens"),
    ),
];

/// Known failures that no mutant repeats, with the reason.
pub const INEXPRESSIBLE: [Inexpressible; 2] = [
    Inexpressible {
        failure: "a lease that a dead deployer left blocks for half an hour (flyctl#1728)",
        why: "a lease of ours ends by itself after fifteen seconds; what a longer one does stands in tests of \
              real processes",
    },
    Inexpressible {
        failure: "a deleted tenant is forgotten at its first absence from the lists",
        why: "how many absences were seen is the pass's own memory: no seam carries it",
    },
];
