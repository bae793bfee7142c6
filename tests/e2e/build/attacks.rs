//! Layouts that lie: each is refused, names what it is about, and nothing is left or touched.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::layout::{Compression, Layer, Layout, amd64, digest};
use super::{build, is_root, names};

/// A layout beside a file that nothing may touch.
struct Place {
    folder: TempDir,
    layout: Layout,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        fs::write(folder.path().join("outside"), "as it was")?;
        let layout = Layout::new(&folder.path().join("layout"))?;
        Ok(Self { folder, layout })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The layout is refused with these words, and everything is as before.
    async fn refused(&self, says: &[&str]) -> anyhow::Result<()> {
        let output = build(self.path(), &["rootfs", "layout", "-o", "out"]).await?.expect(2);
        for words in says {
            assert!(output.stderr.contains(words), "{words:?}: {output}");
        }
        assert_eq!(output.stdout, "");
        assert_eq!(names(self.path()), ["layout", "outside"]);
        assert_eq!(fs::read_to_string(self.path().join("outside"))?, "as it was");
        Ok(())
    }

    /// The same, for an image with these layers.
    async fn refused_layers(layers: &[Layer], says: &[&str]) -> anyhow::Result<()> {
        let mut place = Self::new()?;
        let image = place.layout.image(&amd64(), layers)?;
        place.layout.finish(&[image])?;
        place.refused(says).await
    }
}

fn low() -> Layer {
    Layer::new(Compression::Gzip).folder("a/", 0o755, 0).file("a/b", "low", 0o644)
}

fn high() -> Layer {
    Layer::new(Compression::Zstd)
}

#[tokio::test]
async fn layers_that_lead_elsewhere() -> anyhow::Result<()> {
    if !is_root("layers_that_lead_elsewhere") {
        return Ok(());
    }
    for (layer, says) in [
        (high().file("../outside", "owned", 0o644), "../outside"),
        (high().file("a/../../outside", "owned", 0o644), "has a part `..`"),
        (high().file("/outside", "owned", 0o644), "is absolute"),
        (high().hard_link("c", "../outside"), "the target of its link"),
        (high().file(".wh...", "", 0o644), "entry .wh..."),
        (high().file("a/.wh...", "", 0o644), "kept for whiteouts"),
        (high().file("a/.wh.", "", 0o644), "kept for whiteouts"),
        (high().file(".wh.a", "x", 0o644), "kept for whiteouts"),
    ] {
        Place::refused_layers(&[low(), layer], &["layer sha256:", says]).await?;
    }
    // A symlink in one layer, and a file through it in the next.
    for target in ["..", "../..", "/tmp", "/proc/self/cwd"] {
        let link = high().symlink("a/link", target);
        let through = high().file("a/link/outside", "owned", 0o644);
        let says = ["entry a/link/outside", "a/link above it is not a folder"];
        Place::refused_layers(&[low(), link, through], &says).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bomb_is_stopped() -> anyhow::Result<()> {
    if !is_root("a_bomb_is_stopped") {
        return Ok(());
    }
    let bomb = high().large("zeros", &vec![0; 300 << 20], 0o644);
    Place::refused_layers(&[low(), bomb], &["entry zeros", "200 times as large"]).await
}

/// What is done to a blob's file.
type Change = fn(&Path) -> anyhow::Result<()>;

#[tokio::test]
async fn blobs_that_are_others() -> anyhow::Result<()> {
    let damage = |path: &Path| -> anyhow::Result<()> {
        let mut bytes = fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(fs::write(path, bytes)?)
    };
    let grow = |path: &Path| -> anyhow::Result<()> {
        Ok(fs::write(path, [&fs::read(path)?[..], b" "].concat())?)
    };
    let remove = |path: &Path| -> anyhow::Result<()> { Ok(fs::remove_file(path)?) };
    // What is no file must not keep us waiting.
    let block = |path: &Path| -> anyhow::Result<()> {
        fs::remove_file(path)?;
        let fifo = rustix::fs::FileType::Fifo;
        Ok(rustix::fs::mknodat(rustix::fs::CWD, path, fifo, rustix::fs::Mode::RWXU, 0)?)
    };
    let changes: [(Change, &str); 4] = [
        (damage, "has the digest sha256:"),
        (grow, "bytes and should have"),
        (remove, "cannot read"),
        (block, "it is no file"),
    ];
    for (change, says) in changes {
        for which in ["manifest", "config", "layer"] {
            if which == "layer" && !is_root("blobs_that_are_others, layers") {
                continue;
            }
            let mut place = Place::new()?;
            let image = place.layout.image(&amd64(), &[low()])?;
            place.layout.finish(std::slice::from_ref(&image))?;
            let manifest = place.layout.path(text(&image["digest"]));
            let document: Value = serde_json::from_slice(&fs::read(&manifest)?)?;
            let path = match which {
                "manifest" => manifest,
                "config" => place.layout.path(text(&document["config"]["digest"])),
                _ => place.layout.path(text(&document["layers"][0]["digest"])),
            };
            change(&path)?;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            place.refused(&[says, name]).await?;
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[tokio::test]
async fn documents_that_lie() -> anyhow::Result<()> {
    let place = Place::new()?;
    let plain = "application/vnd.oci.image.layer.v1.tar";
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let layer = place.layout.blob(plain, &[0; 1024])?;
    let changed = |key: &str, value: Value| {
        let mut layer = layer.clone();
        layer[key] = value;
        layer
    };
    let image = |layers: &[Value]| place.layout.image_of(&amd64(), layers, &[]);
    let one = image(std::slice::from_ref(&layer))?;
    let of = |key: &str, value: Value| {
        let mut one = one.clone();
        one[key] = value;
        one
    };
    let mut deep = place.layout.index(std::slice::from_ref(&one))?;
    for _ in 0..5 {
        deep = place.layout.index(&[deep])?;
    }
    let outside = format!("sha256:{}", "../".repeat(21) + "x");
    for (manifest, says) in [
        (image(&[changed("digest", json!("sha512:abc"))])?, "is no digest"),
        (image(&[changed("digest", json!(outside))])?, "is no digest"),
        (image(&[changed("mediaType", json!(foreign))])?, foreign),
        (image(&vec![layer.clone(); 513])?, "513 layers"),
        (of("size", json!(5 << 20)), "no more than 4194304 are read"),
        (of("size", json!(-1)), "index.json is not what an image layout has there"),
        (of("mediaType", json!("text/plain")), "there are: none"),
        (of("digest", json!(digest(b"nothing"))), "cannot read"),
        (deep, "4 deep"),
    ] {
        place.layout.finish(&[manifest])?;
        place.refused(&["error: layout: ", says]).await?;
    }
    let many: Vec<Value> = (0..257).map(|_| super::layout::attestation()).collect();
    place.layout.finish(&many)?;
    place.refused(&["more than 256 documents"]).await?;
    place.layout.finish(&[])?;
    place.refused(&["no image for linux/amd64; there are: none"]).await?;
    // The index says another platform than the image.
    let arm = super::platform("linux", "arm64", None);
    let other = place.layout.image_of(&arm, std::slice::from_ref(&layer), &[])?;
    let lying = json!({ "platform": amd64(), "mediaType": other["mediaType"],
        "digest": other["digest"], "size": other["size"] });
    place.layout.finish(&[lying, super::layout::attestation()])?;
    let args = ["rootfs", "layout", "-o", "out", "--platform", "linux/amd64"];
    let output = build(place.path(), &args).await?.expect(2);
    assert!(output.stderr.contains("there are: linux/arm64"), "{output}");

    fs::write(place.path().join("layout/index.json"), "{")?;
    place.refused(&["index.json is not what an image layout has there"]).await?;
    fs::write(place.path().join("layout/oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#)?;
    place.refused(&["its version is 2.0.0"]).await
}

/// What is compressed in another way than it says would be another thing to another reader.
#[tokio::test]
async fn a_layer_that_is_compressed_otherwise() -> anyhow::Result<()> {
    if !is_root("a_layer_that_is_compressed_otherwise") {
        return Ok(());
    }
    let place = Place::new()?;
    let plain = place.layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &[0; 1024])?;
    let image = place.layout.image_of(&amd64(), &[plain], &[])?;
    place.layout.finish(&[image])?;
    place.refused(&["its compression is Gzip, and it is None"]).await
}
