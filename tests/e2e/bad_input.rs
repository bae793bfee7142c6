//! Bad manifests: told where and how, nothing changed, and the good ones go on.

use std::fmt::Write;

use reqwest::Method;
use serde_json::Value;
use vault_tests::client::{CLASSES, Client, TENANTS};
use vault_tests::manifests::idle;
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

/// A bad file, where its error is, and what that says.
struct Case {
    name: &'static str,
    text: String,
    place: &'static str,
    says: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, place, says, text: String| Case { name, text, place, says };
    let edited = |from: &str, to: &str| {
        let good = idle("umbra");
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    vec![
        case("unknown-field", "7:7", "`region`", edited("region: ord", "regoin: ord")),
        case("wrong-type", "20:29", "big", edited("sizeGb: 1,", "sizeGb: big,")),
        case(
            "duplicate-name",
            "24:19",
            "umbra",
            format!("{}---\n{}", idle("umbra"), idle("umbra")).replacen(
                "apiVersion",
                "apiVersion",
                1,
            ),
        ),
        case("unknown-region", "7:15", "`ord`", edited("region: ord", "region: orb")),
        case("undeclared-volume", "11:28", "`data`", edited("volume: data,", "volume: dat,")),
        case("one-app-twice", "27:8", "shared-name", one_app_twice()),
        case("long-name", "3:19", "63", idle(&"u".repeat(64))),
        case("long-group", "6:13", "20", edited("name: box", &format!("name: {}", "b".repeat(21)))),
        case("no-yaml", "1:4", "unclosed bracket", "a: [1, 2\n".to_owned()),
        case("over-the-cap", "1:1", "1048576", format!("# {}\n", "x".repeat(1024 * 1024))),
        case("alias-bomb", "5:55", "100000 values", alias_bomb()),
        case("no-manifest", "1:1", "`apiVersion`", "just: text\n".to_owned()),
        case("not-yet", "5:3", "not supported yet", edited("spec:\n", "spec:\n  rootfs: {}\n")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_tells_where_it_is_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", idle("acme"))?;
    world.all_ready(1).await?;
    let before = (objects(&world).await?, world.lists().await?.inventory());
    for case in cases() {
        // What is good in a bad file is applied, so files with a good document go to the dry run.
        let has_good = matches!(case.name, "duplicate-name" | "one-app-twice");
        let path = world.write_file(&format!("{}.yaml", case.name), &case.text)?;
        let file = path.to_str().expect("a path in ASCII");
        let mut arguments = vec!["apply", "-f", file];
        arguments.extend(has_good.then_some("--dry-run=server"));
        let output = world.vaultctl(&arguments).await?.expect(2);
        located(&case, file, &output.stderr);
        let output = world.vaultctl(&["diff", "-f", file]).await?;
        assert!(output.code > Some(1), "{}: {output}", case.name);
    }
    let output = world.vaultctl(&["apply", "-f", "nowhere/"]).await?.expect(2);
    assert!(output.stderr.contains("nowhere"), "{output}");
    passes(&world, 3).await?;
    assert_eq!((objects(&world).await?, world.lists().await?.inventory()), before);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_bad_files_in_the_folder_the_good_ones_go_on() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", idle("acme"))?;
    world.all_ready(1).await?;
    let acme = world.tenant("acme").await?;
    let mut paths = Vec::new();
    for case in cases() {
        // The first of two documents of the same name is good; here all are to be bad.
        let text = match case.name {
            "duplicate-name" | "one-app-twice" => continue,
            _ => &case.text,
        };
        let path = world.write_manifest(&format!("{}.yaml", case.name), text)?;
        paths.push((case, path.display().to_string()));
    }
    // A good file becomes bad: what is stored stays.
    world.write_manifest("acme.yaml", idle("acme").replace("region: ord", "regoin: ord"))?;
    // And a good one comes after all of them.
    world.write_manifest("zeta.yaml", idle("zeta"))?;
    world
        .status_where("the folder is taken in", |status| {
            status["folder"]["problems"].to_string().contains("acme.yaml:7:7: ")
                && status["tenants"]["ready"] == 2
        })
        .await?;
    passes(&world, 3).await?;
    let status = world.status().await?;
    let problems: Vec<&str> = status["folder"]["problems"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (case, path) in &paths {
        located(case, path, &problems.join("\n"));
    }
    assert_eq!(status["tenants"], serde_json::json!({ "total": 2, "ready": 2 }), "{status:#}");
    assert_eq!(status["folder"]["missing"], serde_json::json!([]));
    assert_eq!(world.tenant("acme").await?["spec"], acme["spec"]);
    assert_eq!(world.lists().await?.machines.len(), 2);

    // Mended, the problem is gone.
    for (_, path) in &paths {
        std::fs::remove_file(path)?;
    }
    world.write_manifest("acme.yaml", idle("acme"))?;
    world
        .status_where("no problem is left", |status| {
            status["folder"]["problems"] == serde_json::json!([])
        })
        .await?;
    world.all_ready(2).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_that_claim_one_thing_are_told_and_the_first_keeps_it() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world.write_manifest("a.yaml", with_app("alpha"))?;
    world.all_ready(1).await?;
    world.write_manifest("b.yaml", with_app("beta"))?;
    world.write_manifest("c.yaml", idle("alpha").replace("memory_mb: 256", "memory_mb: 512"))?;
    world
        .status_where("both are told", |status| {
            let problems = status["folder"]["problems"].to_string();
            problems.contains("b.yaml:5:8: ") && problems.contains("c.yaml:3:19: ")
        })
        .await?;
    passes(&world, 3).await?;
    let inventory = world.lists().await?.inventory();
    assert_eq!((inventory.apps.len(), inventory.machines.len()), (1, 1), "{inventory:#?}");
    assert_eq!(world.tenant("alpha").await?["metadata"]["generation"], 1);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_refuses_what_apply_refuses() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let mut tenant: Value = serde_saphyr::from_str(&idle("acme"))?;
    tenant["spec"]["machines"][0]["regoin"] = "ord".into();
    let client = world.client()?;
    // As `apply` asks: without Strict an unknown field is dropped with a warning.
    let strict = format!("{TENANTS}?fieldValidation=Strict");
    let refused = client.send(Method::POST, &strict, Some(&tenant)).await?.expect(400);
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains("unknown field \"spec.machines[0].regoin\""), "{refused:#}");
    assert!(message.contains("region"), "{refused:#}");
    let no_json = Value::String("x".repeat(100));
    let answer = client.send(Method::POST, TENANTS, Some(&no_json)).await?;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let huge = Value::String("x".repeat(2 * 1024 * 1024));
    // The server does not read it to the end, so this connection may close before the answer is
    // seen; the others are not to share it.
    let apart = Client::from_context(&world.context_file())?;
    if let Ok(answer) = apart.send(Method::POST, TENANTS, Some(&huge)).await {
        drop(answer.expect(413));
    }
    assert_eq!(client.get(TENANTS).await?.expect(200)["items"], serde_json::json!([]));
    world.finish().await
}

/// A line begins with the place, and says what is wrong.
fn located(case: &Case, file: &str, text: &str) {
    let start = format!("{file}:{}: ", case.place);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(&start)).collect();
    assert!(
        lines.iter().any(|line| line.contains(case.says)),
        "{}: no line begins with {start} and says {:?}:\n{}",
        case.name,
        case.says,
        text.chars().take(4_000).collect::<String>()
    );
}

/// All tenants and classes.
async fn objects(world: &World) -> anyhow::Result<(Value, Value)> {
    let client = world.client()?;
    let tenants = client.get(TENANTS).await?.expect(200);
    let classes = client.get(CLASSES).await?.expect(200);
    Ok((tenants["items"].clone(), classes["items"].clone()))
}

fn with_app(name: &str) -> String {
    idle(name).replace("spec:\n", "spec:\n  app: shared-name\n")
}

fn one_app_twice() -> String {
    format!("{}---\n{}", with_app("umbra"), with_app("penumbra"))
}

/// A thousand million texts in a few hundred bytes.
fn alias_bomb() -> String {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").expect("a text takes all");
    }
    text
}
