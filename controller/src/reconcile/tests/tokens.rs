//! Deploy tokens through whole passes: minted, replaced and revoked, whatever is lost or killed.

use super::*;
use crate::identity::SealedFor;
use crate::store::{CredentialKind, CredentialState, CredentialStore};
use crate::testing::not_sent;
use crate::tokens::LOOK_VALID_MS;
use secrecy::ExposeSecret;

const HOUR: i64 = 3_600_000;
/// Passes, a second apart, within which everything has to be settled: the answer that may still come
/// is waited for ten, and a failure's hold is two.
const PASSES: usize = 40;

/// `acme` with the deploy token `ci`: good for 24 hours, replaced after 18.
fn with_token() -> serde_json::Value {
    let mut wanted = tenant("acme", "nginx:1");
    let token = json!({ "name": "ci", "ttl": "24h", "rotateBefore": "6h" });
    wanted["spec"]["tokens"] = json!({ "deploy": [token] });
    wanted
}

impl Stage {
    async fn with_token() -> Self {
        let stage = Self::new();
        put(&stage.store, &with_token(), Source::Api).await;
        stage
    }

    /// Both clocks move on, and a pass follows.
    pub(super) async fn after(&self, milliseconds: i64) -> Pass {
        self.clock.advance(milliseconds);
        self.platform.world().made_after_ms += milliseconds;
        self.reconciler.pass(&BTreeSet::new()).await.unwrap()
    }

    pub(super) async fn settle_down(&self) {
        for _ in 0..PASSES {
            self.after(1_000).await;
        }
    }

    /// The controller is killed while a call of this verb is made, and started anew.
    pub(super) async fn killed(self, verb: &'static str, acts: bool) -> Self {
        self.platform.world().hang = Some((verb, acts));
        let nothing_missing = BTreeSet::new();
        tokio::select! {
            pass = self.reconciler.pass(&nothing_missing) => panic!("it was to hang: {pass:?}"),
            () = self.platform.hung.notified() => {}
        }
        let Self { _folder, store, platform, clock, .. } = self;
        Self::over(_folder, store, platform, clock, tenant_secrets())
    }

    /// The ids at the platform of what opens something, with their numbers.
    fn open_tokens(&self) -> Vec<(String, String)> {
        let now = self.clock.now();
        let world = self.platform.world();
        let open = world
            .tokens
            .iter()
            .filter(|token| !token.revoked && token.expires_at.is_none_or(|end| now < end));
        let n = |name: &str| name.rsplit_once('/').map_or(name, |(_, n)| n).to_owned();
        open.map(|token| (token.id.clone(), n(&token.name))).collect()
    }

    /// The values that the store holds, opened.
    async fn values(&self) -> Vec<String> {
        let stored = self.store.credentials(CredentialKind::DeployToken).await.unwrap();
        let mut values = Vec::new();
        for row in stored.rows {
            if row.state == CredentialState::Minting {
                continue;
            }
            let (key, kind) = (row.of.key, row.of.key.kind.word());
            let of = SealedFor { tenant: key.tenant_uid, kind, name: &row.of.name, n: key.n };
            let sealed = self.store.sealed_credential(key).await.unwrap().unwrap();
            let value = tenant_secrets().sealer().open(of, &sealed).unwrap();
            values.push(value.expose_secret().to_owned());
        }
        values
    }

    /// One token opens the app, its value is in the store, and no name was used twice.
    async fn assert_one_token(&self, why: &str) {
        let open = self.open_tokens();
        assert_eq!(open.len(), 1, "{why}: {open:?}");
        assert_eq!(self.values().await, [format!("FlyV1 fm2_{}", open[0].0)], "{why}");
        assert_eq!(self.store.open_intents().await.unwrap(), [], "{why}");
        let world = self.platform.world();
        let names: BTreeSet<_> = world.tokens.iter().map(|token| &token.name).collect();
        assert_eq!(names.len(), world.tokens.len(), "{why}: a number came twice");
    }
}

#[tokio::test]
async fn a_tenant_is_ready_with_its_token_and_a_quiet_pass_costs_no_look() {
    let stage = Stage::with_token().await;
    let pass = stage.after(0).await;
    assert_eq!(pass.actions, 5);
    let pass = stage.after(1_000).await;
    assert!(pass.ready.contains("acme"), "{pass:?}");
    stage.assert_one_token("at first").await;
    let status = stage.status("acme").await;
    assert_eq!((status.tokens[0].name.as_str(), status.tokens[0].n), ("ci", Some(1)));
    assert!(status.tokens[0].expires_at.is_some() && status.tokens[0].next_rotation.is_some());
    stage.after(1_000).await;
    assert_eq!(stage.after(1_000).await.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
    stage.after(LOOK_VALID_MS).await;
    let looks = stage.platform.world().calls.iter().filter(|call| **call == "tokens local").count();
    assert_eq!(looks, 2, "one at first, and one when it is too old");
    let told = stage.told.lock().unwrap();
    assert!(told.iter().all(|event| !event.message.contains("fm2_")), "{told:?}");
}

#[tokio::test]
async fn a_token_is_replaced_with_an_overlap_and_the_tenant_stays_ready() {
    let stage = Stage::with_token().await;
    stage.settle_down().await;
    stage.after(17 * HOUR).await;
    assert_eq!(stage.open_tokens().len(), 1, "not yet");
    let pass = stage.after(HOUR).await;
    assert!(pass.ready.contains("acme"), "{pass:?}");
    let numbers = |stage: &Stage| -> Vec<String> {
        stage.open_tokens().into_iter().map(|(_, n)| n).collect()
    };
    assert_eq!(numbers(&stage), ["1", "2"], "the overlap");
    stage.after(1_000).await;
    assert_eq!(stage.status("acme").await.tokens[0].n, Some(2));
    stage.after(3 * HOUR - 2_000).await;
    assert_eq!(numbers(&stage), ["1", "2"]);
    let pass = stage.after(2_000).await;
    assert!(pass.ready.contains("acme"), "{pass:?}");
    stage.settle_down().await;
    assert_eq!(numbers(&stage), ["2"]);
    stage.assert_one_token("after the overlap").await;
}

#[tokio::test]
async fn whatever_becomes_of_a_mint_one_token_is_left() {
    for acts in [false, true] {
        let stage = Stage::with_token().await;
        stage.platform.fail("mint_token", unknown(), acts);
        stage.after(0).await;
        stage.settle_down().await;
        stage.assert_one_token(&format!("no answer, acts: {acts}")).await;
        let stage = Stage::with_token().await.killed("mint_token", acts).await;
        stage.settle_down().await;
        stage.assert_one_token(&format!("killed, acts: {acts}")).await;
        // Killed again and again, at each mint that follows.
        let mut stage = Stage::with_token().await;
        for _ in 0..3 {
            stage = stage.killed("mint_token", acts).await;
            stage.clock.advance(11_000);
            stage.platform.world().made_after_ms += 11_000;
        }
        stage.settle_down().await;
        stage.assert_one_token(&format!("killed three times, acts: {acts}")).await;
    }
    for error in [rejected(422, "no"), not_sent()] {
        let why = error.to_string();
        let stage = Stage::with_token().await;
        stage.platform.fail("mint_token", error, false);
        stage.after(0).await;
        assert_eq!(stage.open_tokens(), []);
        stage.settle_down().await;
        stage.assert_one_token(&why).await;
        assert_eq!(stage.open_tokens()[0].1, "2", "a number is used once: {why}");
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_rotation_one_token_is_left() {
    for verb in ["mint_token", "revoke_token"] {
        for (killed, acts) in [(false, false), (false, true), (true, false), (true, true)] {
            let why = format!("{verb}, killed: {killed}, acts: {acts}");
            let mut stage = Stage::with_token().await;
            stage.settle_down().await;
            stage.clock.advance(18 * HOUR);
            stage.platform.world().made_after_ms += 18 * HOUR;
            if verb == "revoke_token" {
                stage.settle_down().await;
                stage.clock.advance(3 * HOUR);
                stage.platform.world().made_after_ms += 3 * HOUR;
            }
            if killed {
                stage = stage.killed(verb, acts).await;
            } else {
                stage.platform.fail(verb, unknown(), acts);
            }
            stage.settle_down().await;
            assert!(stage.open_tokens().len() <= 2, "{why}: one, and the one before");
            stage.after(3 * HOUR).await;
            stage.settle_down().await;
            stage.assert_one_token(&why).await;
        }
    }
}

#[tokio::test]
async fn a_lost_database_means_new_tokens_and_the_old_ones_go() {
    let lost = Stage::with_token().await;
    lost.settle_down().await;
    let (platform, clock) = (Arc::clone(&lost.platform), lost.clock.clone());
    // Somebody else's, and another controller's, are left alone.
    let mut foreign = platform.world().tokens[0].clone();
    "lat_x".clone_into(&mut foreign.id);
    "ci".clone_into(&mut foreign.name);
    let mut strange = foreign.clone();
    "lat_y".clone_into(&mut strange.id);
    strange.name = "vault/00000000-0000-5000-8000-000000000000/1".to_owned();
    platform.world().tokens.extend([foreign, strange]);
    let stage = Stage::on(platform, clock);
    put(&stage.store, &with_token(), Source::Api).await;
    stage.settle_down().await;
    let open: Vec<_> = stage.open_tokens().into_iter().map(|(id, _)| id).collect();
    assert_eq!(open, ["lat_x", "lat_y", "lat_4"]);
    assert_eq!(stage.values().await, ["FlyV1 fm2_lat_4"]);
    assert_eq!(stage.platform.world().tokens[3].name.rsplit_once('/').unwrap().1, "2");
}

#[tokio::test]
async fn tokens_go_before_their_tenant_whoever_is_killed_meanwhile() {
    for acts in [false, true] {
        let mut stage = Stage::with_token().await;
        stage.settle_down().await;
        let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let deleted = StoredObject { deleted_at: Some(stage.clock.now()), ..stored };
        let version = Some(deleted.resource_version);
        stage.store.put_object(deleted, version).await.unwrap();
        stage = stage.killed("revoke_token", acts).await;
        assert!(stage.store.object(Kind::Tenant, "acme").await.unwrap().is_some());
        stage.settle_down().await;
        assert_eq!(stage.open_tokens(), []);
        assert_eq!(stage.store.object(Kind::Tenant, "acme").await.unwrap(), None);
        assert_eq!(stage.values().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_token_that_the_manifest_no_longer_names_is_revoked() {
    let stage = Stage::with_token().await;
    stage.settle_down().await;
    change(&stage, |spec| spec["tokens"]["deploy"][0]["name"] = json!("deploy")).await;
    stage.settle_down().await;
    stage.assert_one_token("another name").await;
    assert_eq!(stage.status("acme").await.tokens[0].name, "deploy");
    change(&stage, |spec| spec["tokens"] = json!({})).await;
    stage.settle_down().await;
    assert_eq!(stage.open_tokens(), []);
    assert_eq!(stage.status("acme").await.tokens, []);
}

#[tokio::test]
async fn one_that_somebody_else_revoked_is_replaced_and_told() {
    let stage = Stage::with_token().await;
    stage.settle_down().await;
    stage.platform.world().tokens[0].revoked = true;
    stage.after(LOOK_VALID_MS).await;
    stage.settle_down().await;
    stage.assert_one_token("revoked by somebody").await;
    let told = stage.told.lock().unwrap();
    let gone = told.iter().find(|event| event.reason == "TokenGone").unwrap();
    assert_eq!(gone.message, "somebody else revoked deploy token ci (1)");
}

#[tokio::test]
async fn an_empty_list_changes_nothing_however_long_it_lasts() {
    let stage = Stage::with_token().await;
    stage.settle_down().await;
    stage.platform.world().hides_tokens = true;
    for _ in 0..30 {
        assert_eq!(stage.after(60_000).await.calls.writes, 0);
    }
    stage.platform.world().hides_tokens = false;
    stage.settle_down().await;
    stage.assert_one_token("after an empty list").await;
}

#[tokio::test]
async fn tokens_that_cannot_be_had_keep_no_machine_waiting() {
    let stage = Stage::with_token().await;
    for _ in 0..PASSES {
        stage.platform.fail("mint_token", rejected(403, "You may not"), false);
    }
    stage.settle_down().await;
    let status = stage.status("acme").await;
    assert_eq!(status.machines[0].state.as_deref(), Some("started"));
    let ready = &status.conditions[0];
    assert_eq!(ready.reason, "Refused", "{status:?}");
    assert!(ready.message.contains("You may not"), "{ready:?}");
    // Far into the hold of the token a machine stops, and is started again at once.
    for machine in &mut stage.platform.world().machines {
        machine.state = vault_plan::observed::PlatformState::Stopped;
    }
    stage.after(1_000).await;
    stage.after(1_000).await;
    assert_eq!(stage.status("acme").await.machines[0].state.as_deref(), Some("started"));
}

#[tokio::test]
async fn without_a_list_no_token_is_minted_and_everything_else_is_done() {
    let stage = Stage::with_token().await;
    for _ in 0..PASSES {
        stage.platform.fail("tokens", unknown(), false);
    }
    stage.settle_down().await;
    assert_eq!(stage.open_tokens(), []);
    let status = stage.status("acme").await;
    assert!(status.machines[0].ready, "{status:?}");
    assert_eq!(status.conditions[0].reason, "Unobserved", "{status:?}");
    let looks = stage.platform.world().calls.iter().filter(|call| **call == "tokens local").count();
    assert!((2..=5).contains(&looks), "every ten seconds while it fails: {looks}");
}
