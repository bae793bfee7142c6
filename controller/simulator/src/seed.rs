//! What a seed says: which story, and what goes wrong in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use vault_controller::metrics::Metrics;
use vault_emulator::faults::Fault;

use crate::faults::{Plan, Rates};
use crate::nature::Nature;
use crate::oracle::end::StageEnd;
use crate::run::{BOOT, Outcome, Setting};
use crate::workload::{Group, Manifest, RANDOM, Tenant, Workload, apart, named, random};

/// How long faults are on in each stage, in milliseconds.
const WINDOW_MS: std::ops::Range<i64> = 40_000..120_000;

/// Runs seeds, and remembers how stories end without faults.
pub struct Seeds {
    stories: Vec<Workload>,
    /// Stories that are told only if they are asked for by name.
    apart: Vec<Workload>,
    references: HashMap<String, Arc<[StageEnd]>>,
    metrics: Arc<Metrics>,
}

impl Default for Seeds {
    fn default() -> Self {
        Self {
            stories: named(),
            apart: apart(),
            references: HashMap::new(),
            metrics: Arc::default(),
        }
    }
}

impl Seeds {
    /// Runs a seed, on the story of that name if one is given; a readable trace is kept if asked
    /// for. `None` if there is no story of that name.
    pub fn run(&mut self, seed: u64, story: Option<&str>, readable: bool) -> Option<Outcome> {
        let setting = self.setting(seed, story, readable)?;
        Some(self.run_setting(&setting))
    }

    /// What a seed says, on the story of that name if one is given; `None` if there is none.
    #[must_use]
    pub fn setting(&self, seed: u64, story: Option<&str>, readable: bool) -> Option<Setting> {
        let mut chance = Rng::with_seed(seed);
        let workload = match story {
            Some(name) => {
                let mut all = self.stories.iter().chain(&self.apart);
                all.find(|story| story.name == name)?.clone()
            }
            None if chance.u8(0..10) < 6 => {
                self.stories[chance.usize(0..self.stories.len())].clone()
            }
            None => random(&mut chance),
        };
        let storm = chance.u8(0..4) == 0;
        let nature = Nature { disks: chance.u8(0..5) == 0, people: chance.u8(0..3) == 0 };
        Some(Setting {
            seed: chance.u64(..),
            plan: Plan::Drawn(Rates::draw(&mut chance)),
            nature: (chance.u8(0..4) > 0).then_some(nature),
            window_ms: chance.i64(WINDOW_MS),
            quirks: quirks(&mut chance),
            second: (chance.u8(0..8) == 0).then(second),
            pause: None,
            storm,
            still: true,
            boot: BOOT,
            readable,
            mutation: None,
            workload,
        })
    }

    /// Runs a setting against how its story ends without faults; a storm is compared with nothing. If
    /// the story does not end well without faults, that run is the outcome.
    pub fn run_setting(&mut self, setting: &Setting) -> Outcome {
        let reference = match setting.storm {
            true => Ok(None),
            false => self.tell(&setting.workload, setting.readable).map(Some),
        };
        match reference {
            Ok(reference) => setting.run(reference.as_deref(), &self.metrics),
            Err(unwell) => *unwell,
        }
    }

    /// How a story ends without faults.
    ///
    /// # Panics
    /// If it does not end well: then every comparison with it would be worthless.
    pub fn reference(&mut self, workload: &Workload) -> Arc<[StageEnd]> {
        match self.tell(workload, false) {
            Ok(stages) => stages,
            Err(unwell) => {
                panic!("{} without faults: {:#?}", workload.name, unwell.violations);
            }
        }
    }

    /// How a story ends without faults, or the run in which it did not end well.
    fn tell(
        &mut self,
        workload: &Workload,
        readable: bool,
    ) -> Result<Arc<[StageEnd]>, Box<Outcome>> {
        if let Some(known) = self.references.get(&workload.name) {
            return Ok(Arc::clone(known));
        }
        let mut calm = Setting { readable, ..Setting::calm(workload.clone()) };
        if workload.name == RANDOM {
            // Nobody else needs this run, and only its end is needed. That nothing is written after
            // that, and what happens while machines boot, is seen in the run that is compared with it.
            (calm.still, calm.boot) = (false, Duration::ZERO);
        }
        let outcome = calm.run(None, &self.metrics);
        if !outcome.violations.is_empty() {
            return Err(Box::new(outcome));
        }
        let stages: Arc<[StageEnd]> = outcome.stages.into();
        if workload.name != RANDOM {
            self.references.insert(workload.name.clone(), Arc::clone(&stages));
        }
        Ok(stages)
    }

    /// What counts for nobody.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

/// The platform's own bad days.
fn quirks(chance: &mut Rng) -> Vec<Fault> {
    let all = [
        r#"{"kind": "slow-image", "delay": "3s", "probability": 0.3}"#,
        r#"{"kind": "reverted-update", "delay": "2s", "probability": 0.3}"#,
        r#"{"kind": "lingering-claim", "delay": "4s", "probability": 0.5}"#,
        r#"{"kind": "destroyed-shown", "delay": "1s", "probability": 0.5}"#,
        r#"{"kind": "autostop", "delay": "1s", "probability": 0.3}"#,
    ];
    let chosen: Vec<&str> = all.into_iter().filter(|_| chance.u8(0..5) == 0).collect();
    if chosen.is_empty() {
        return Vec::new();
    }
    let document = format!("[{}]", chosen.join(","));
    Fault::read_json(document.as_bytes()).expect("these documents are sound")
}

/// What people want of a second controller: a tenant that is called as one of the first's.
fn second() -> Manifest {
    Manifest::of(&[("acme", Tenant::new(vec![Group::new("box")]))])
}
