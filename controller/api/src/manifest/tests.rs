//! Bad input, as a table: every case says exactly where and what.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "\
apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: NAME }
spec:
  machines:
    - { name: box, region: ord, config: { image: nginx } }
";

fn good(name: &str) -> String {
    GOOD.replace("NAME", name)
}

fn headlines(text: &str) -> Vec<String> {
    let reading = read_manifest("f.yaml", text.as_bytes());
    reading.problems.iter().map(|problem| problem.headline()).collect()
}

fn names(reading: &ManifestReading) -> Vec<&str> {
    reading.documents.iter().map(|located| located.document.name()).collect()
}

#[test]
fn good_documents_are_read() {
    let text = format!(
        "# yaml-language-server: $schema=../schemas/manifest.json\n{}---\n---\n# empty\n---\n{}...\n",
        good("acme"),
        good("beta")
    );
    let reading = read_manifest("f.yaml", text.as_bytes());
    assert_eq!(reading.problems, []);
    assert_eq!(names(&reading), ["acme", "beta"]);
    assert_eq!(reading.documents[0].start(), Location { line: 2, column: 1 });
}

#[test]
fn windows_line_breaks_and_a_byte_order_mark_are_accepted() {
    let text = format!("\u{feff}{}", good("acme").replace('\n', "\r\n"));
    let reading = read_manifest("f.yaml", text.as_bytes());
    assert_eq!(reading.problems, []);
    assert_eq!(names(&reading), ["acme"]);
}

/// One edit of the good document, and the one problem that it makes.
#[test]
fn each_mistake_has_its_place() {
    let table: [(&str, &str, &str); 30] = [
        ("region: ord", "regoin: ord", "6:20: unknown field `regoin`; did you mean `region`?"),
        ("region: ord", "region: odr", "6:28: unknown region `odr`; did you mean `ord`?"),
        ("region: ord", "region: 7", "6:28: expected text, found the number 7; quote it: \"7\""),
        ("region: ord", "count: two", "6:27: expected a whole number, found the text `two`"),
        (
            "region: ord",
            "count: \"2\"",
            "6:27: expected a whole number, found the text `2`; remove the quotes",
        ),
        ("region: ord", "count: -1", "6:27: expected 0 at least, found the number -1"),
        ("region: ord", "count: 101", "6:27: expected 100 at most, found the number 101"),
        ("region: ord", "count: 2.0", "6:27: expected a whole number without a point, found 2.0"),
        ("region: ord", "count: 2.5", "6:27: expected a whole number, found the number 2.5"),
        (
            "region: ord",
            "state: started",
            "6:27: expected `Started`, `Stopped` or `Suspended`, found `started`; did you mean `Started`?",
        ),
        (
            "region: ord",
            "state: true",
            "6:27: expected `Started`, `Stopped` or `Suspended`, found the boolean true",
        ),
        ("region: ord", "relocate: Fork", "6:30: expected `Snapshot`, found `Fork`"),
        ("name: box, ", "", "6:7: missing field `name`"),
        (
            "name: box",
            "name: a-group-with-21-chars",
            "6:15: name `a-group-with-21-chars` must be at most 20 characters long, but has 21",
        ),
        (
            "name: NAME",
            "name: Acme",
            "3:19: name `Acme` must not contain 'A': only lower-case letters, digits and dashes are allowed",
        ),
        ("{ name: NAME }", "{}", "3:1: missing field `name`"),
        (
            "{ name: NAME }",
            "{ name: x, labels: { tier: 1 } }",
            "3:38: expected text, found the number 1; quote it: \"1\"",
        ),
        (
            "{ name: NAME }",
            "{ name: x, labels: { a b: x } }",
            "3:32: the key `a b` must not contain ' ': only letters, digits, dashes, underscores and dots are allowed",
        ),
        (
            "kind: Tenant",
            "kind: Tenat",
            "2:7: unknown kind `Tenat`, expected `Tenant` or `TenantClass`; did you mean `Tenant`?",
        ),
        (
            "kind: Tenant",
            "kind: Pod",
            "2:7: unknown kind `Pod`, expected `Tenant` or `TenantClass`",
        ),
        ("vaultctl.dev/v1", "v1", "1:13: expected `vaultctl.dev/v1`, found the text `v1`"),
        ("image: nginx", "image: [nginx]", "6:43: expected text, found a list"),
        (
            "image: nginx",
            "env: { A: 8080 }",
            "6:53: expected text, found the number 8080; quote it: \"8080\"",
        ),
        (
            "image: nginx",
            "mounts: [ { volume: data, path: data } ]",
            "6:75: expected a path from `/`, found `data`",
        ),
        ("image: nginx", "mounts: [ { volume: data } ]", "6:53: missing field `path`"),
        (
            "image: nginx",
            "metadata: { vault_tenant: x }",
            "6:55: the metadata key `vault_tenant` is reserved: keys that begin with `vault_` belong to the controller",
        ),
        (
            "image: nginx",
            "env: { A: \"{{tenat}}\" }",
            "6:53: unknown placeholder `{{tenat}}`; did you mean `tenant`?",
        ),
        (
            "image: nginx",
            "env: { A: \"{{vars.x.y}}\" }",
            "6:53: the name of the var in `{{vars.x.y}}` must not contain '.': only letters, digits, dashes and underscores are allowed",
        ),
        (
            "image: nginx",
            "restart: { policy: never }",
            "6:62: expected `no`, `always` or `on-failure`, found `never`",
        ),
        (
            "image: nginx",
            "guest: { cpu_kind: sharde }",
            "6:62: expected `shared` or `performance`, found `sharde`; did you mean `shared`?",
        ),
    ];
    let mut wrong = Vec::new();
    for (from, to, expected) in table {
        assert!(GOOD.contains(from), "{from}");
        let found = headlines(&GOOD.replacen(from, to, 1).replace("NAME", "acme"));
        if found != [format!("f.yaml:{expected}")] {
            wrong.push((to, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_supported_yet_is_said_to_be_so() {
    let table = [
        ("vars: { plan: 1 }", "5:17: expected text, found the number 1; quote it: \"1\""),
        (
            "vars: { 1st: x }",
            "5:11: the var's name `1st` must begin with a letter or an underscore",
        ),
        ("rootfs: { url: x }", "5:3: `rootfs` is not supported yet"),
        ("storage: { bucket: [] }", "5:14: unknown field `bucket`; did you mean `buckets`?"),
        (
            "storage: { buckets: [{ name: A }] }",
            "5:32: the bucket's name `A` must not contain 'A': only lower-case letters, digits and dashes are allowed",
        ),
        (
            "storage: { buckets: [{ name: a, access: Write }] }",
            "5:43: expected `ReadWrite` or `ReadOnly`, found `Write`",
        ),
        (
            "storage: { buckets: [{ name: a, deletionPolicy: Snapshot }] }",
            "5:51: a bucket's data cannot be kept in a snapshot: choose `Retain`, or `Delete`",
        ),
        (
            "storage: { buckets: [{ name: a }, { name: a }] }",
            "5:45: two buckets are named `a`: the first is spec.storage.buckets[0]",
        ),
        (
            "secrets: [ { name: VAULT_TENANT_SECRET, from: { env: VAULTCTL_SECRET_A } } ]",
            "5:22: `VAULT_TENANT_SECRET` is reserved: the controller sets it by itself",
        ),
        (
            "secrets: [ { name: A, from: { env: FLY_API_TOKEN } } ]",
            "5:38: a manifest may name only environment variables that begin with `VAULTCTL_SECRET_`, not `FLY_API_TOKEN`",
        ),
        (
            "secrets: [ { name: A, from: { file: ../master.key } } ]",
            "5:39: expected a path beneath the controller's --secrets-dir, such as `acme/db`, found `../master.key`",
        ),
        (
            "secrets: [ { name: A, from: { file: /etc/passwd } } ]",
            "5:39: expected a path beneath the controller's --secrets-dir, such as `acme/db`, found `/etc/passwd`",
        ),
        (
            "secrets: [ { name: A, from: {} } ]",
            "5:25: a secret comes from `env` or from `file`, exactly one of them",
        ),
        (
            "secrets: [ { name: 1A, from: { file: a } } ]",
            "5:22: the secret's name `1A` must begin with a letter or an underscore",
        ),
        (
            "secrets: [ { name: A, value: x, from: { file: a } } ]",
            "5:25: unknown field `value`; known here are from, name",
        ),
        ("tokens: { deplyo: [] }", "5:13: unknown field `deplyo`; did you mean `deploy`?"),
        (
            "tokens: { deploy: [ { name: ci, ttl: 24 } ] }",
            "5:40: expected text, found the number 24; quote it: \"24\"",
        ),
        (
            "tokens: { deploy: [ { name: ci, ttl: 1d } ] }",
            "5:40: `1d` is no duration such as `24h`, `90m` or `1h30m`",
        ),
        (
            "tokens: { deploy: [ { name: ci, ttl: 59s } ] }",
            "5:40: a token lives from 1 minute to 20 years (`175200h`)",
        ),
        (
            "tokens: { deploy: [ { name: ci, ttl: 175200h1s } ] }",
            "5:40: a token lives from 1 minute to 20 years (`175200h`)",
        ),
        (
            "tokens: { deploy: [ { name: ci, ttl: 1h, rotateBefore: 60m } ] }",
            "5:58: expected less than `ttl`: the next token is minted before this one ends",
        ),
        (
            "tokens: { deploy: [ { name: ci, ttl: 1h, rotateBefore: 0s } ] }",
            "5:58: the next token is minted before this one ends: more than `0s`",
        ),
        (
            "tokens: { deploy: [ { name: CI, ttl: 1h } ] }",
            "5:31: the token's name `CI` must not contain 'C': only lower-case letters, digits and dashes are allowed",
        ),
        (
            "tokens: { deploy: [ { name: a, ttl: 1h }, { name: a, ttl: 1h } ] }",
            "5:53: two deploy tokens are named `a`: the first is spec.tokens.deploy[0]",
        ),
        (
            "reconcile: paused",
            "5:14: expected `Active` or `Paused`, found `paused`; did you mean `Paused`?",
        ),
        ("app: { name: x, share: true }", "5:19: unknown field `share`; did you mean `shared`?"),
        (
            "volumes: [ { name: d, deletionPolicy: Retian } ]",
            "5:41: expected `Retain`, `Snapshot` or `Delete`, found `Retian`; did you mean `Retain`?",
        ),
    ];
    for (line, expected) in table {
        let text = good("acme").replace("spec:\n", &format!("spec:\n  {line}\n"));
        assert_eq!(headlines(&text), [format!("f.yaml:{expected}")], "{line}");
    }
}

/// The YAML itself is bad: one problem, and the documents around it are read.
#[test]
fn a_bad_document_hides_no_good_one() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &('b'..='z')
            .map(|name| {
                let before = char::from(name as u8 - 1);
                format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", "))
            })
            .collect::<String>();
    let deep_flow = "[".repeat(70) + &"]".repeat(70) + "\n";
    let deep_block: String = (0..70).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let table: [(&str, &str); 18] = [
        ("a: [1, 2\n", "8:4: not valid YAML: unclosed bracket '['"),
        ("a: 'x\n", "9:1: not valid YAML: "),
        ("a: b: c\n", "8:5: not valid YAML: "),
        ("a:\n\tb: 1\n", "9:2: not valid YAML: a tab where only spaces may stand"),
        ("a: 1\n b: 2\n", "9:3: not valid YAML: "),
        ("...\n%YAML 1.2\n%YAML 1.2\na\n", "10:1: not valid YAML: "),
        ("hello, this is no manifest\n", "8:1: expected a mapping with `apiVersion`"),
        (&bomb, "12:44: more than 100000 values in one document, aliases expanded"),
        (&deep_flow, "8:65: nested deeper than 64 levels"),
        (&deep_block, "72:65: nested deeper than 64 levels"),
        ("a: &a [*a]\n", "8:8: the alias stands inside of what it stands for"),
        (
            "kind: Tenant\nkind: x\napiVersion: vaultctl.dev/v1\nmetadata: {name: c}\n",
            "9:1: the key `kind` stands here for the second time",
        ),
        (
            "kind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: c}\n1: x\n",
            "11:1: a key must be text: quote it, \"1\"",
        ),
        (
            "kind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: c}\n<<: {}\n",
            "11:1: merge keys (`<<`) are not supported: ",
        ),
        (
            "kind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: *c}\n",
            "10:18: the alias `*c` has no `&c` before it",
        ),
        (
            "kind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: !x c}\n",
            "10:21: the tag `!x` is not supported",
        ),
        (
            "kind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: 0123}\n",
            "10:18: `0123` is octal for some readers",
        ),
        (
            "? {a: b}\n: c\nkind: Tenant\napiVersion: vaultctl.dev/v1\nmetadata: {name: c}\n",
            "8:3: a key must be text, not a list or a mapping",
        ),
    ];
    for (bad, expected) in table {
        let text = format!("{}---\n{bad}---\n{}", good("before"), good("after"));
        let reading = read_manifest("f.yaml", text.as_bytes());
        let found: Vec<String> = reading.problems.iter().map(|found| found.headline()).collect();
        assert_eq!(found.len(), 1, "{bad}: {found:#?}");
        let start = format!("f.yaml:{expected}");
        assert!(found[0].starts_with(&start), "{bad}: {found:?} is not {start}");
        assert_eq!(names(&reading), ["before", "after"], "{bad}");
    }
}

#[test]
fn bytes_that_are_no_text_are_located_and_hide_nothing() {
    let mut bytes = format!("{}---\na: 1\nb: ä", good("before")).into_bytes();
    bytes.extend(b"\xff\n---\n");
    bytes.extend(good("after").bytes());
    let reading = read_manifest("f.yaml", &bytes);
    let found: Vec<String> = reading.problems.iter().map(|found| found.headline()).collect();
    assert_eq!(found, ["f.yaml:9:5: not UTF-8 text: the byte 0xff is no part of a character"]);
    assert_eq!(names(&reading), ["before", "after"]);
}

#[test]
fn caps_hold() {
    let large = vec![b'#'; MANIFEST_BYTES_MAX + 1];
    let reading = read_manifest("f.yaml", &large);
    assert_eq!(reading.problems.len(), 1);
    assert!(reading.problems[0].headline().starts_with("f.yaml:1:1: the file has 1048577 bytes"));

    let many = "--- x\n".repeat(DOCUMENTS_MAX + 1);
    let reading = read_manifest("f.yaml", many.as_bytes());
    assert_eq!(reading.problems.len(), PROBLEMS_MAX + 1);

    // One long line with a hundred thousand mistakes must not take the square of its length.
    let wide = format!("{{{}}}", "a: 1, ".repeat(150_000));
    let reading = read_manifest("f.yaml", wide.as_bytes());
    assert!(!reading.problems.is_empty());

    // Errors upon errors: each is one step, not one more reading of the whole file.
    for bad in ["---\n[\n", "--- \"\n", "%YAML 1\n---\n", "---\n*x: [*x]\n", "--- &a [*a]\n"] {
        let reading =
            read_manifest("f.yaml", bad.repeat(MANIFEST_BYTES_MAX / bad.len()).as_bytes());
        assert_eq!(reading.problems.len(), PROBLEMS_MAX + 1, "{bad}");
    }

    // Many documents, each just below the cap of one, stop at the cap of the file.
    let item = format!(
        "a: &a [{}]\nb: &b [{}]\nc: [{}]\n",
        "x, ".repeat(40),
        "*a, ".repeat(40),
        "*b, ".repeat(50)
    );
    let reading = read_manifest("f.yaml", format!("{item}---\n").repeat(1_000).as_bytes());
    assert!(reading.problems.iter().any(|found| found.message.contains("in one file")));

    // A long text, repeated by aliases.
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(50_000));
    let reading = read_manifest("f.yaml", text.as_bytes());
    assert!(reading.problems[0].message.contains("bytes of text in one document"));
}

#[test]
fn aliases_work_within_a_document() {
    let text = good("acme").replace("image: nginx", "image: &i nginx, env: &e { A: *i }")
        + "    - { name: two, region: ord, config: { image: *i, env: *e, metadata: *e } }\n";
    let reading = read_manifest("f.yaml", text.as_bytes());
    assert_eq!(reading.problems, []);
    let crate::check::Document::Tenant(tenant) = &reading.documents[0].document else { panic!() };
    assert_eq!(tenant.spec.machines[1].config["metadata"]["A"], "nginx");
}

#[test]
fn a_list_is_read_as_its_items() {
    let text = "\
apiVersion: v1
kind: List
metadata: { resourceVersion: '' }
items:
  - apiVersion: vaultctl.dev/v1
    kind: Tenant
    metadata: { name: acme }
  - apiVersion: vaultctl.dev/v1
    kind: Tenant
    metadata: { name: Beta }
  - apiVersion: vaultctl.dev/v1
    kind: TenantClass
    metadata: { name: dev-box }
";
    let reading = read_manifest("f.yaml", text.as_bytes());
    assert_eq!(names(&reading), ["acme", "dev-box"]);
    assert_eq!(reading.problems.len(), 1);
    assert!(reading.problems[0].headline().starts_with("f.yaml:10:23: name `Beta` must not"));
    let refused = RefusedDocument { kind: DocumentKind::Tenant, name: "Beta".to_owned() };
    assert_eq!(reading.refused, [refused]);

    let wrong = text
        .replace("v1\nkind: List", "v2\nkind: List")
        .replace("metadata: { res", "metdata: { res");
    let found = headlines(&wrong);
    assert_eq!(found[0], "f.yaml:1:13: a `List` has `apiVersion: v1`");
    assert_eq!(found[1], "f.yaml:3:1: unknown field `metdata`; did you mean `metadata`?");
}

#[test]
fn paths_are_located_as_far_as_they_exist() {
    let reading = read_manifest("f.yaml", good("acme").as_bytes());
    let root = FieldPath::default();
    let machine = root.field("spec").field("machines").index(0);
    let table = [
        (root.clone(), (1, 1)),
        (root.field("metadata"), (3, 1)),
        (root.field("metadata").field("name"), (3, 19)),
        (machine.clone(), (6, 7)),
        (machine.field("config").field("image"), (6, 50)),
        (machine.field("config").field("mounts").index(0).field("volume"), (6, 33)),
        (root.field("spec").field("class"), (4, 1)),
        (root.field("nothing"), (1, 1)),
    ];
    for (path, (line, column)) in table {
        let location = Location { line, column };
        assert_eq!(reading.documents[0].locate(&path), location, "{path}");
    }
}

#[test]
fn pictures_show_the_place_and_steer_no_terminal() {
    let text = good("acme").replace("ord", "\"o\u{9b}31m\td\"");
    let reading = read_manifest("f.yaml", text.as_bytes());
    for problem in &reading.problems {
        let shown = problem.to_string();
        assert!(!shown.chars().any(|found| found.is_control() && found != '\n'), "{shown:?}");
    }
    let long = format!("{}\nkind: {}x\n", "# ä", " ".repeat(1_000));
    let reading = read_manifest("f.yaml", long.as_bytes());
    let picture = reading.problems.last().unwrap().picture();
    assert!(picture.lines().all(|line| line.chars().count() < 140), "{picture}");
}

#[test]
fn ten_mistakes_are_told_at_once() {
    let text = "\
apiVersion: vaultctl.dev/v2
kind: Tenant
metadata:
  name: Acme
  labels: { tier: [pro] }
spec:
  clas: dev-box
  vars: { plan: pro }
  machines:
    - name: box
      region: odr
      count: many
      config:
        image: 5
        guest: { cpu_kind: fast, cpus: 0 }
        mounts: [ { volume: data, path: data } ]
        env:
          TOKEN: \"{{access_token}}\"
          PORT: 8080
        unknown_to_us: { passes: [1, 2.5, null] }
    - name: box
  volumes:
    - name: data
      sizeGb: 501
      deletionPolicy: Remove
";
    let reading = read_manifest("manifests/acme.yaml", text.as_bytes());
    let shown: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_folder_is_checked_as_a_whole() {
    let files = [
        ("a.yaml", format!("{}  app: vault\n  class: dev-bx\n", good("acme"))),
        ("b.yaml", format!("{}  app: vault\n---\n{}", good("beta"), good("acme"))),
        ("c.yaml", "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: dev-box }\n---\n\
                    apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: bad }\nspc: {}\n---\n\
                    apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: { name: gamma }\nspec: { class: bad }\n\
                    ".to_owned()),
        ("d.yaml", good("delta").replace("image: nginx", "image: nginx, mounts: [ { volume: dta, path: /d } ]")
                    + "  volumes: [ { name: data, sizeGb: 1 } ]\n"),
    ];
    let readings: Vec<ManifestReading> =
        files.iter().map(|(file, text)| read_manifest(file, text.as_bytes())).collect();
    let found: Vec<String> =
        check_folder(&readings, &[]).iter().map(|found| found.problem.headline()).collect();
    assert_eq!(
        found,
        [
            "a.yaml:8:10: there is no tenant class `dev-bx`; did you mean `dev-box`?",
            "b.yaml:7:8: the app `vault` is already named by tenant `acme`; the first is at a.yaml:7:8",
            "b.yaml:11:19: two objects of kind Tenant are named `acme`; the first is at a.yaml:3:19",
            "c.yaml:13:16: the tenant class `bad` has errors of its own",
            "d.yaml:6:77: the mounted volume `dta` is not declared; did you mean `data`?",
        ]
    );
}

/// Pieces of YAML that reach further into the reader than random bytes do.
fn yaml_like() -> impl Strategy<Value = String> {
    let pieces = [
        "---\n",
        "...\n",
        "a",
        ":",
        " ",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&x ",
        "*x",
        "!!str ",
        "!y ",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "#",
        "? ",
        "<<",
        "%YAML 1.2\n",
        "\t",
        "1",
        "kind: Tenant\n",
        "apiVersion: vaultctl.dev/v1\n",
        "metadata: {name: x}\n",
        "spec:\n",
        "machines:\n",
        "\u{feff}",
        "ä",
        "\0",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..80)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    /// No input panics, and every problem has a place inside the file.
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check_places(&bytes)?;
    }

    #[test]
    fn any_yaml_like_text_is_read(text in yaml_like()) {
        check_places(text.as_bytes())?;
    }

    /// Whatever stands between two separators, the documents around it are read.
    #[test]
    fn nothing_hides_its_neighbours(text in yaml_like()) {
        let text = format!("{}---\n{text}\n---\n{}", good("before"), good("after"));
        let reading = read_manifest("f.yaml", text.as_bytes());
        let names = names(&reading);
        prop_assert_eq!(names.first(), Some(&"before"));
        prop_assert_eq!(names.last(), Some(&"after"));
    }
}

fn check_places(bytes: &[u8]) -> Result<(), TestCaseError> {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for problem in read_manifest("f.yaml", bytes).problems {
        let Location { line, column } = problem.location;
        prop_assert!((1..=lines + 1).contains(&line) && column >= 1, "{problem}");
        prop_assert!(!problem.message.is_empty());
    }
    Ok(())
}
