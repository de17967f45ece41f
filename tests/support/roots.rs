//! A node that is another Debian: its own sshd, sudo, utilities and nginx, in a folder of its own under an overlay, at the
//! address of a lab's node. Only root can have one.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::process::{output, wait_until};
use super::{Lab, free_ports, repository};

pub struct Root {
    child: Child,
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How its SSH server is started, at `$SSH`.
pub const OPENSSH: &str = "mkdir -p /run/sshd; /usr/sbin/sshd -o ListenAddress=$SSH";
pub const DROPBEAR: &str = "mkdir -p /etc/dropbear; dropbear -R -p $SSH";
pub const TINYSSHD: &str = "mkdir -p /etc/tinyssh; tinysshd-makekey /etc/tinyssh/keys\n\
     tcpserver -HRDl0 ${SSH%:*} ${SSH#*:} tinysshd /etc/tinyssh/keys &";

/// In namespaces of its own, which take everything with them: mounts and processes. Nothing is written below the folder.
const START: &str = r#"set -e
folder=$1 lower=$2 public=$3 prepare=$4 server=$5; export SSH=$6 TLS=$7
mkdir -p "$folder"; mount -t tmpfs none "$folder"; mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay none -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cd "$folder/root"
mount --rbind /dev dev; mount -t proc none proc; mount -t tmpfs none run
install -D -m 600 "$public" root/.ssh/authorized_keys
echo "127.0.0.1 localhost $(hostname)" >etc/hosts
mkdir -p srv/tls
exec chroot . /bin/sh -c 'set -e
cd /
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=old -addext subjectAltName=DNS:old.invalid -keyout /srv/tls/privkey.pem -out /srv/tls/fullchain.pem 2>/dev/null
printf "user root;\nerror_log /var/log/nginx.log;\nevents {}\nhttp { server { listen %s ssl; ssl_certificate /srv/tls/fullchain.pem; ssl_certificate_key /srv/tls/privkey.pem; } }\n" "$TLS" >/etc/nginx/nginx.conf
nginx
eval "$1"
eval "$2"
exec sleep 100000' sh "$prepare" "$server"
"#;

impl Root {
    /// In place of the lab's first node. `prepare`: what is done in it first, as root.
    pub fn start(lab: &Lab, suite: &str, prepare: &str, server: &str) -> Self {
        let lower = output(Command::new(repository().join("tests/roots.sh")).arg(suite)).trim().to_owned();
        let node = &lab.nodes[0];
        let [ssh, tls]: [SocketAddr; 2] = free_ports(node.ssh.ip());
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, "sh"]);
        command.arg(lab.folder.join("root")).arg(lower);
        command.arg(lab.folder.join("id_ed25519.pub")).args([prepare, server]);
        command.args([ssh.to_string(), tls.to_string()]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("unshare is there");
        let root = Self { child };
        for address in [ssh, tls] {
            assert!(wait_until(|| TcpStream::connect(address).is_ok()), "{suite}: nothing listens at {address}");
        }
        let scan =
            output(Command::new("ssh-keyscan").args(["-t", "ed25519", "-p", &ssh.port().to_string()]).arg(lab.ip(0)));
        let (_, host_key) = scan.trim().split_once(' ').expect("a name, then its key");
        for (key, line) in [
            ("host_key = ", format!("host_key = {host_key:?}")),
            ("ssh = ", format!("ssh = {{ port = {} }}", ssh.port())),
            ("probe = ", format!("probe = {{ port = {} }}", tls.port())),
            ("fullchain = ", "fullchain = \"/srv/tls/fullchain.pem\"".to_owned()),
            ("key = ", "key = \"/srv/tls/privkey.pem\"".to_owned()),
            ("test = ", "test = [\"nginx\", \"-t\"]".to_owned()),
            ("reload = ", "reload = [\"nginx\", \"-s\", \"reload\"]".to_owned()),
        ] {
            lab.replace_line(key, &line);
        }
        root
    }
}
