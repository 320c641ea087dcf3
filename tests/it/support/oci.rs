//! A registry of images and of transforms: Debian's `docker-registry`.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::clickhouse::{curl, get};
use super::{Stack, cleanup, places, wait_until};

/// The media type of manifests.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of lists of manifests.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The repository of all tests.
const NAME: &str = "team/rules";
/// One user, `me`, with the password `hunter2`.
const HTPASSWD: &str = "me:$2b$04$qxzTLuDCRVpWhDKY5JnWFODMT2q733Car3CkeZcqwbsutFCdd81W.\n";

/// A registry of one test. It ends with the value.
pub struct OciRegistry {
    child: Child,
    host: String,
    folder: PathBuf,
    /// What stands before the host in an address, for curl.
    user: &'static str,
}

impl OciRegistry {
    /// One that lets everybody in.
    pub fn new() -> Self {
        OciRegistry::start("", "")
    }

    /// One that lets in the user `me` with the password `hunter2`.
    pub fn with_a_user() -> Self {
        let file = places::file("htpasswd", HTPASSWD);
        OciRegistry::start(&format!("auth: {{htpasswd: {{realm: rules, path: {file:?}}}}}\n"), "me:hunter2@")
    }

    fn start(more: &str, user: &'static str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = free.expect("a free port").to_string();
        let folder = places::new_folder();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder:?}}}}}\nhttp: {{addr: \"{host}\"}}\n{more}"
        );
        let config = places::file("registry.yaml", text);
        let child = Command::new(program())
            .args(["serve", &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("the registry starts");
        cleanup::kill_at_end(child.id());
        let mut registry = OciRegistry { child, host, folder, user };
        wait_until("the registry", || {
            let ended = registry.child.try_wait().expect("it is a child");
            assert!(ended.is_none(), "the registry has ended: {ended:?}");
            get(&registry.url("")).is_ok()
        });
        registry
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{}/v2/{path}", self.user, self.host)
    }

    /// Pushes a component as `wkg` does, and returns the reference to it.
    pub fn push(&self, component: &[u8]) -> String {
        let config = self.blob("application/vnd.wasm.config.v0+json", b"{}");
        let layer = self.blob("application/wasm", component);
        self.manifest(MANIFEST, &manifest(&config, &[layer]))
    }

    /// Pushes what is no component: an image, and a list with a manifest of it. Returns the references to both.
    pub fn push_image(&self) -> [String; 2] {
        let config = self.blob("application/vnd.oci.image.config.v1+json", b"{}");
        let image = manifest(&config, &[self.blob("application/vnd.oci.image.layer.v1.tar", b"layer")]);
        let text = image.to_string();
        let one = json!({ "mediaType": MANIFEST, "digest": digest(text.as_bytes()), "size": text.len() });
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [one] });
        [self.manifest(MANIFEST, &image), self.manifest(INDEX, &list)]
    }

    /// Uploads bytes, and returns what a manifest says of them.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        let begin = ["-X", "POST", "-o", "/dev/null", "-w", "%header{location}"];
        let upload =
            curl(&self.url(&format!("{NAME}/blobs/uploads/")), &begin, b"").expect("an upload begins");
        // The place that it names is without the user.
        let upload = upload.replacen("http://", &format!("http://{}", self.user), 1);
        put(&format!("{upload}&digest={digest}"), "application/octet-stream", bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Puts a manifest, and returns the reference to it.
    fn manifest(&self, media_type: &str, manifest: &Value) -> String {
        let text = manifest.to_string();
        let digest = digest(text.as_bytes());
        put(&self.url(&format!("{NAME}/manifests/{digest}")), media_type, text.as_bytes());
        format!("oci://{}/{NAME}@{digest}", self.host)
    }

    /// Replaces bytes in its storage by others.
    pub fn corrupt(&self, bytes: &[u8]) {
        let digest = digest(bytes);
        let digits = digest.trim_start_matches("sha256:");
        let blobs = self.folder.join("docker/registry/v2/blobs/sha256");
        let file = blobs.join(&digits[..2]).join(digits).join("data");
        let mut other = fs::read(&file).expect("it is stored");
        other[bytes.len() / 2] ^= 1;
        fs::write(file, other).expect("this user's");
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
}

fn put(url: &str, media_type: &str, bytes: &[u8]) {
    let media_type = format!("Content-Type: {media_type}");
    curl(url, &["-X", "PUT", "-H", &media_type, "--data-binary", "@-"], bytes).expect("it is taken");
}

/// As registries write it.
fn digest(bytes: &[u8]) -> String {
    let digits = openssl::sha::sha256(bytes).map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.concat())
}

/// The program, fetched if need be. A copy in the folder of this run, so that it is ended with that.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let copy = places::run_folder().join("docker-registry");
        fs::copy(Stack::docker_registry(), &copy).expect("it was fetched");
        copy
    })
}
