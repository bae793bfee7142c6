//! The proxy itself: it loses what it is told to lose, after the platform acted, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use vault_tests::eventually::eventually;
use vault_tests::proxy::Proxy;
use vault_tests::world::controller::Moment;
use vault_tests::world::{World, WorldOptions};

async fn create_app(
    http: &Client,
    proxy: &Proxy,
    token: &str,
    name: &str,
) -> reqwest::Result<StatusCode> {
    let body = json!({ "app_name": name, "org_slug": "local" });
    let request = http.request(Method::POST, format!("{}/v1/apps", proxy.url()));
    Ok(request.bearer_auth(token).json(&body).send().await?.status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_one_write_is_lost_and_the_platform_has_acted() -> anyhow::Result<()> {
    let world = World::with_platform(WorldOptions::default()).await?;
    let told: Arc<Mutex<Vec<(Moment, u64)>>> = Arc::default();
    let keep = Arc::clone(&told);
    let hook = Arc::new(move |moment, answers| {
        keep.lock().unwrap_or_else(PoisonError::into_inner).push((moment, answers));
    });
    let upstream = world.platform()?.url().trim_start_matches("http://").parse()?;
    let proxy = Proxy::start(upstream, hook).await?;
    let http = Client::builder().tls_certs_only([]).no_proxy().build()?;
    let token = world.operator_token();

    proxy.lose_write(2);
    assert_eq!(create_app(&http, &proxy, token, "first").await?, 201);
    assert!(create_app(&http, &proxy, token, "second").await.is_err(), "nothing was answered");
    assert_eq!(create_app(&http, &proxy, token, "third").await?, 201);
    assert_eq!(world.lists().await?.inventory().apps, ["first", "second", "third"]);
    assert_eq!(proxy.lost().map(|write| (write.answer, write.status)), Some((2, 201)));
    assert_eq!((proxy.writes().len(), proxy.answers()), (3, 3));

    proxy.refuse(true);
    assert!(create_app(&http, &proxy, token, "fourth").await.is_err());
    proxy.refuse(false);
    assert_eq!(world.lists().await?.apps.len(), 3, "what is refused does not arrive");
    assert_eq!(proxy.answers(), 3);

    // The second answer was produced, and never was on the wire.
    let expected = [
        (Moment::Requested, 0),
        (Moment::Answered, 1),
        (Moment::Delivered, 1),
        (Moment::Requested, 1),
        (Moment::Answered, 2),
        (Moment::Requested, 2),
        (Moment::Answered, 3),
        (Moment::Delivered, 3),
    ];
    // A client may read an answer before the proxy notes that it is out.
    eventually("every moment is told", async || {
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await?;
    world.finish().await
}
