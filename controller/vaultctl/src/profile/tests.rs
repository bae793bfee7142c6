use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::*;

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn sound() -> String {
    format!(
        "# mine\n[vault.acme]\naddress = \"127.0.0.1:8443\" # here\norg = \"acme-org\"\n\
         app = \"acme-vault\"\nmachine_id = \"7811d2b4c90e38\"\naccess_token = \"{TOKEN}\"\n\
         digests = [\"sha256:1d1d\"]\nforward = [\"8080\"]\n"
    )
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    (folder, path)
}

fn place(version: &str, digest: Option<&str>) -> ConnectStatus {
    serde_json::from_value(json!({
        "machine": "acme-box-0", "state": "started", "runsAgent": true,
        "address": "[fdaa::3]:8443",
        "evidence": {
            "issuer": "https://oidc.fly.io/acme-org", "orgName": "acme-org", "orgId": "1",
            "appName": "acme-vault", "machineId": "7811d2b4c90e38", "machineVersions": [version],
            "imageDigests": digest.into_iter().collect::<Vec<_>>(),
        },
        "credential": { "scheme": "hmac-sha256", "key": TOKEN },
    }))
    .unwrap()
}

fn origin() -> Origin {
    Origin { context: "local".to_owned(), tenant: "acme".to_owned() }
}

#[test]
fn a_profile_written_by_hand_says_whom_to_expect() {
    let (_folder, path) = written(&sound());
    let profiles = Profiles::read(path).unwrap();
    let profile = profiles.get("acme").unwrap();
    let Target { address, identity } = profile.target();
    assert_eq!(address.to_string(), "127.0.0.1:8443");
    assert_eq!(identity.issuer, "https://oidc.fly.io/acme-org");
    assert_eq!((identity.org_id, identity.app_id), (None, None));
    assert_eq!(identity.image_digests, ["sha256:1d1d"]);
    assert!(identity.machine_versions.is_empty() && profile.proof().is_some());
    assert!(profiles.get("other").is_none());
    assert!(!format!("{profile:?}").contains(TOKEN));
}

#[test]
fn no_file_has_no_profiles_and_adding_one_makes_it_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/config.toml");
    let mut profiles = Profiles::read(path.clone()).unwrap();
    assert_eq!(profiles.iter().count(), 0);
    let profile = Profile::new(&place("01J1", None), Pin::Version, origin()).unwrap();
    profiles.put("acme/box-0", profile.clone()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let read = Profiles::read(path.clone()).unwrap();
    assert!(read.get("acme/box-0") == Some(&profile));
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("[vault.\"acme/box-0\"]\naddress = \"[fdaa::3]:8443\"\n"), "{text}");
}

#[test]
fn what_people_wrote_stays_and_what_is_known_anew_replaces_the_rest() {
    let other = "\n[vault.other] # another\naddress = \"[::1]:1\"\norg = \"o\"\napp = \"a\"\n\
        machine_id = \"m\"\nversions = [\"v\"]\n";
    let (_folder, path) = written(&format!("{}{other}access_token = \"{TOKEN}\"\n", sound()));
    let mut profiles = Profiles::read(path.clone()).unwrap();
    let known = Profile { controller: Some(origin()), ..profiles.get("acme").unwrap().clone() };
    assert!(known.refreshed(&place("01J1", None)).is_none(), "it is known by its image alone");
    let fresh = known.refreshed(&place("01J1", Some("sha256:2e2e"))).unwrap();
    profiles.put("acme", fresh).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# mine\n[vault.acme]\naddress = \"[fdaa::3]:8443\"\n"), "{text}");
    assert!(text.contains(other), "{text}");
    let profiles = Profiles::read(path.clone()).unwrap();
    let acme = profiles.get("acme").unwrap();
    assert_eq!((&*acme.digests, &*acme.versions), (&["sha256:2e2e".to_owned()][..], &[][..]));
    assert_eq!((&*acme.forward, acme.org_id.as_deref()), (&["8080".to_owned()][..], Some("1")));

    let mut profiles = Profiles::read(path.clone()).unwrap();
    assert!(!profiles.remove("nobody").unwrap());
    assert!(profiles.remove("acme").unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("vault.acme") && text.contains(other.trim_start()), "{text}");
}

#[test]
fn a_version_is_pinned_unless_the_image_is_to_be() {
    let both = place("01J1", Some("sha256:1d1d"));
    let by_version = Profile::new(&both, Pin::Version, origin()).unwrap();
    assert_eq!((by_version.versions.len(), by_version.digests.len()), (1, 1));
    let by_image = Profile::new(&both, Pin::Image, origin()).unwrap();
    assert_eq!((by_image.versions.len(), by_image.digests.len()), (0, 1));
    assert!(Profile::new(&place("01J1", None), Pin::Image, origin()).is_none());
    let mut odd = both;
    odd.credential.scheme = "another".to_owned();
    assert!(Profile::new(&odd, Pin::Version, origin()).is_none());
}

#[test]
fn what_cannot_be_used_is_said_with_its_place_and_without_its_token() {
    let text = sound();
    for (broken, said) in [
        (text.replace("org = \"acme-org\"\n", ""), "missing field `org`"),
        (
            text.replace("address = \"127.0.0.1:8443\"", "address = \"here\""),
            ":3:11: invalid socket",
        ),
        (text.replace("forward = ", "forwards = "), ":9:1: unknown field `forwards`"),
        (text.replace("digests = [\"sha256:1d1d\"]", ""), "neither versions nor digests"),
        (text.replace(TOKEN, "hush-hush"), "its access_token is not 32 bytes"),
        (text.replace(TOKEN, "hush-hush\" \""), ":7:"),
        ("[vaults.acme]\n".to_owned(), "unknown field `vaults`"),
    ] {
        let (_folder, path) = written(&broken);
        let error = anyhow::Error::from(Profiles::read(path).unwrap_err());
        let shown = format!("{error:#}");
        assert!(shown.contains(said), "{said:?} in {shown:?}");
        assert!(!shown.contains(TOKEN) && !shown.contains("hush-hush"), "{shown}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o622] {
        let (_folder, path) = written(&sound());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let error = Profiles::read(path).unwrap_err();
        assert!(
            matches!(error, ProfileError::Open { mode: found, .. } if found == mode),
            "{error}"
        );
    }
}
