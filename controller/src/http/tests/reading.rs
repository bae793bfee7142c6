//! Discovery, lists, tables, selectors, pages and OpenAPI over HTTP.

use axum::http::header::ACCEPT;

use super::*;
use crate::http::resources::{ALL, Resource};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                          application/json";

impl Stage {
    /// A GET in a form.
    async fn get_as(&self, path: &str, accept: &str) -> (u16, Value) {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header(ACCEPT, accept);
        let (code, text) = self.send(request.body(Body::empty()).unwrap()).await;
        (code.as_u16(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
    }

    /// Tenants with the labels of a tier each.
    async fn with_tenants(names: &[(&str, &str)]) -> Self {
        let stage = Self::new().await;
        for (name, tier) in names {
            let mut document = tenant(name, "nginx:1");
            document["metadata"]["labels"] = json!({ "tier": tier });
            put(&stage.store, &document, Source::Api).await;
        }
        stage
    }
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn discovery_tells_the_same_in_both_forms() {
    let stage = Stage::new().await;
    for (path, legacy_kind, group) in
        [("/api", "APIVersions", ""), ("/apis", "APIGroupList", "vaultctl.dev")]
    {
        assert_eq!(stage.get(path).await.1["kind"], legacy_kind);
        let (code, found) = stage.get_as(path, AGGREGATED).await;
        assert_eq!((code, &found["kind"]), (200, &json!("APIGroupDiscoveryList")));
        assert_eq!(found["apiVersion"], "apidiscovery.k8s.io/v2");
        let older = AGGREGATED.split_once(',').unwrap().1;
        let older = stage.get_as(path, older).await.1;
        assert_eq!(older["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(older["items"], found["items"]);
        assert_eq!(found["items"][0]["metadata"]["name"], group);
        let told = found["items"][0]["versions"][0]["resources"].as_array().unwrap();
        let root = if group.is_empty() { "/api/v1" } else { "/apis/vaultctl.dev/v1" };
        let listed = stage.get(root).await.1;
        for resource in told {
            let name = &resource["resource"];
            let same = listed["resources"].as_array().unwrap().iter().find(|r| r["name"] == *name);
            assert_eq!(same.unwrap()["verbs"], resource["verbs"], "{name}");
        }
    }
    assert_eq!(stage.get("/apis/vaultctl.dev").await.1["kind"], "APIGroup");
    assert_eq!(stage.get("/apis/example.com").await.0, 404);
}

#[tokio::test]
async fn every_verb_that_is_told_is_served_and_no_other() {
    let stage = Stage::with_tenants(&[("acme", "pro")]).await;
    let of_verbs = [
        ("list", Method::GET, false),
        ("create", Method::POST, false),
        ("deletecollection", Method::DELETE, false),
        ("get", Method::GET, true),
        ("update", Method::PUT, true),
        ("patch", Method::PATCH, true),
        ("delete", Method::DELETE, true),
    ];
    for resource in ALL {
        let collection = match resource.namespaced {
            true => format!("{}/namespaces/default/{}", resource.root(), resource.plural),
            false => format!("{}/{}", resource.root(), resource.plural),
        };
        for (verb, method, is_object) in &of_verbs {
            let object = if *is_object { "/nobody" } else { "" };
            let (code, status) =
                stage.ask(method.clone(), &format!("{collection}{object}"), json!({})).await;
            let told = resource.verbs.contains(verb);
            assert_eq!(code != 405, told, "{verb} {collection}: {status}");
        }
        let watched = stage.router.clone().oneshot(watch_request(&collection)).await.unwrap();
        let told = resource.verbs.contains(&"watch");
        assert_eq!(watched.status().is_success(), told, "{collection}");
        subresources_are_served(&stage, resource, &collection).await;
    }
}

async fn subresources_are_served(stage: &Stage, resource: &Resource, collection: &str) {
    for below in resource.subresources {
        for (verb, method) in
            [("get", Method::GET), ("create", Method::POST), ("patch", Method::PATCH)]
        {
            let path = format!("{collection}/acme/{}", below.name);
            let (code, status) = stage.ask(method, &path, json!({})).await;
            assert_eq!(code != 405, below.verbs.contains(&verb), "{verb} {path}: {status}");
        }
    }
}

/// A watch, whose lines nobody has to read.
fn watch_request(collection: &str) -> Request<Body> {
    Request::builder()
        .uri(format!("{collection}?watch=true"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn lists_are_tables_for_those_who_ask() {
    let stage = Stage::with_tenants(&[("acme", "pro"), ("umbra", "free")]).await;
    let (code, table) = stage.get_as(TENANTS, TABLE).await;
    assert_eq!((code, &table["kind"]), (200, &json!("Table")));
    let columns: Vec<(&str, i64)> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["priority"].as_i64().unwrap()))
        .collect();
    assert_eq!(columns[0], ("Name", 0));
    assert_eq!(columns[6], ("Org", 1));
    let row = &table["rows"][0];
    assert_eq!(
        json!(row["cells"].as_array().unwrap()[..6]),
        json!(["acme", "Unknown", "Pending", "0/0", "<none>", "0s"])
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["labels"]["tier"], "pro");
    assert!(row["object"].get("spec").is_none());
    assert!(table["metadata"]["resourceVersion"].is_string());

    let whole = stage.get_as(&format!("{TENANTS}?includeObject=Object"), TABLE).await.1;
    assert_eq!(whole["rows"][1]["object"], stage.get(&format!("{TENANTS}/umbra")).await.1);
    let none = stage.get_as(&format!("{TENANTS}?includeObject=None"), TABLE).await.1;
    assert!(none["rows"][0].get("object").is_none());
    let one = stage.get_as(&acme(), TABLE).await.1;
    assert_eq!((&one["kind"], &one["rows"][0]["cells"][0]), (&json!("Table"), &json!("acme")));
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);

    let partial = stage.get_as(TENANTS, PARTIAL).await.1;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&partial), ["acme", "umbra"]);
    assert!(partial["items"][0].get("spec").is_none());
    assert_eq!(stage.get_as(TENANTS, "application/vnd.kubernetes.protobuf").await.0, 406);
}

#[tokio::test]
async fn lists_hold_what_is_selected() {
    let stage =
        Stage::with_tenants(&[("a", "pro"), ("b", "free"), ("c", "pro"), ("d", "trial")]).await;
    for (query, expected) in [
        ("", &["a", "b", "c", "d"][..]),
        ("labelSelector=tier%3Dpro", &["a", "c"]),
        ("labelSelector=tier+in+(free,trial)", &["b", "d"]),
        ("labelSelector=!tier", &[]),
        ("fieldSelector=metadata.name%3Db", &["b"]),
        ("fieldSelector=metadata.name!%3Db&limit=10", &["a", "c", "d"]),
        ("fieldSelector=metadata.name%3Db&labelSelector=tier%3Dpro", &[]),
        ("fieldSelector=metadata.namespace%3Ddefault", &[]),
    ] {
        let (code, list) = stage.get(&format!("{TENANTS}?{query}")).await;
        assert_eq!((code, names(&list)), (200, expected.to_vec()), "{query}");
    }
    let (code, status) = stage.get(&format!("{TENANTS}?fieldSelector=spec.class=x")).await;
    assert_eq!(code, 400);
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("field label not supported: spec.class"), "{message}");
}

/// The names of all pages, and what each said of those that follow.
async fn pages(stage: &Stage, query: &str) -> (Vec<String>, Vec<Option<u64>>, Vec<Value>) {
    let (mut found, mut remaining, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    let mut token = String::new();
    loop {
        let path = format!("{TENANTS}?{query}&continue={token}");
        let (code, list) = stage.get(&path).await;
        assert_eq!(code, 200, "{list}");
        found.extend(names(&list).into_iter().map(str::to_owned));
        remaining.push(list["metadata"]["remainingItemCount"].as_u64());
        versions.push(list["metadata"]["resourceVersion"].clone());
        match list["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return (found, remaining, versions),
        }
    }
}

#[tokio::test]
async fn pages_together_are_the_whole_list() {
    let all = [("a", "pro"), ("b", "free"), ("c", "pro"), ("d", "free"), ("e", "pro")];
    let stage = Stage::with_tenants(&all).await;
    let (found, remaining, versions) = pages(&stage, "limit=2").await;
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
    assert_eq!(remaining, [Some(3), Some(1), None]);
    assert_eq!((&versions[0], &versions[1]), (&versions[1], &versions[2]));
    let (found, remaining, _) = pages(&stage, "limit=2&labelSelector=tier%3Dpro").await;
    assert_eq!((found.concat().as_str(), remaining.len()), ("ace", 2));
    assert_eq!(remaining, [None, None], "a selection is not counted");
    let (found, ..) = pages(&stage, "limit=1&fieldSelector=metadata.name!%3Da").await;
    assert_eq!(found.concat(), "bcde");
    let bad = stage.get(&format!("{TENANTS}?limit=1&continue=bad")).await;
    assert_eq!((bad.0, &bad.1["reason"]), (400, &json!("BadRequest")));
}

#[tokio::test]
async fn a_long_list_is_written_in_pieces_and_is_whole() {
    let stage = Stage::new().await;
    let mut expected = Vec::new();
    let made: Vec<String> = (0..1_203).map(|number| format!("t{number:05}")).collect();
    for chunk in made.chunks(64) {
        let documents: Vec<Value> = chunk.iter().map(|name| tenant(name, "nginx:1")).collect();
        let puts = documents.iter().map(|document| put(&stage.store, document, Source::Api));
        futures_util::future::join_all(puts).await;
        expected.extend(chunk.to_vec());
    }
    let list = stage.get(TENANTS).await.1;
    assert_eq!(names(&list), expected);
    let list = stage.get(&format!("{TENANTS}?limit=1100")).await.1;
    assert_eq!(names(&list), expected[..1_100]);
    assert_eq!(list["metadata"]["remainingItemCount"], 103);
    let request = stage.get_as(TENANTS, TABLE).await.1;
    assert_eq!(request["rows"].as_array().unwrap().len(), 1_203);
}

#[tokio::test]
async fn versions_that_cannot_be_shown_are_refused_as_clients_expect() {
    let stage = Stage::with_tenants(&[("a", "pro")]).await;
    let version = stage.store.resource_version().await.unwrap();
    let ask = async |query: String| {
        let (code, status) = stage.get(&format!("{TENANTS}?{query}")).await;
        (code, status["reason"].as_str().unwrap_or_default().to_owned())
    };
    let newer = version + 1;
    for (query, code, reason) in [
        (format!("resourceVersion={version}"), 200, ""),
        (format!("resourceVersion={version}&resourceVersionMatch=Exact"), 200, ""),
        (format!("resourceVersion={newer}"), 504, "Timeout"),
        (format!("resourceVersion={newer}&resourceVersionMatch=Exact"), 504, "Timeout"),
        ("resourceVersion=5&resourceVersionMatch=Exact".to_owned(), 410, "Expired"),
        ("resourceVersionMatch=Exact".to_owned(), 422, "Invalid"),
        ("resourceVersion=x".to_owned(), 400, "BadRequest"),
    ] {
        assert_eq!(ask(query.clone()).await, (code, reason.to_owned()), "{query}");
    }
    let (_, status) = stage.get(&format!("{TENANTS}?resourceVersion={newer}")).await;
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    put(&stage.store, &tenant("b", "nginx:1"), Source::Api).await;
    let exact = ask(format!("resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact, (410, "Expired".to_owned()));
}

#[tokio::test]
async fn there_is_one_namespace_and_events_lie_in_it() {
    let stage = Stage::new().await;
    let list = stage.get("/api/v1/namespaces").await.1;
    assert_eq!((names(&list), &list["kind"]), (vec!["default"], &json!("NamespaceList")));
    assert_eq!(stage.get("/api/v1/namespaces/default").await.1["status"]["phase"], "Active");
    let (code, status) = stage.get("/api/v1/namespaces/other").await;
    assert_eq!((code, &status["message"]), (404, &json!("namespaces \"other\" not found")));
    assert_eq!(stage.get("/api/v1/namespaces?watch=true").await.0, 400);

    let event = crate::events::Event::normal(NOW, "acme", "Made", "it is there");
    stage.store.append_events(vec![event]).await.unwrap();
    let listed = stage.get("/api/v1/namespaces/default/events").await.1;
    assert_eq!(listed["items"], stage.get("/api/v1/events").await.1["items"]);
    let name = listed["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let one = stage.get(&format!("/api/v1/namespaces/default/events/{name}")).await.1;
    assert_eq!(one, listed["items"][0]);
    assert_eq!(stage.get(&format!("/api/v1/namespaces/other/events/{name}")).await.0, 404);
    assert!(names(&stage.get("/api/v1/namespaces/other/events").await.1).is_empty());
    let table = stage.get_as("/api/v1/events", TABLE).await.1;
    assert_eq!(
        json!(table["rows"][0]["cells"].as_array().unwrap()[..4]),
        json!(["0s", "Normal", "Made", "tenant/acme"])
    );
}

#[tokio::test]
async fn openapi_is_found_by_its_index() {
    let stage = Stage::new().await;
    let index = stage.get("/openapi/v3").await.1;
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["api/v1", "apis/vaultctl.dev/v1"]);
    for (name, entry) in paths {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{name}?hash=")), "{url}");
        let (code, document) = stage.get(url).await;
        assert_eq!((code, &document["openapi"]), (200, &json!("3.0.0")));
    }
    assert_eq!(stage.get("/openapi/v2").await.1["swagger"], "2.0");
    let version = stage.get("/version").await.1;
    for field in ["major", "minor", "gitVersion", "gitTreeState", "goVersion", "platform"] {
        assert!(version[field].is_string(), "{field}");
    }
}
