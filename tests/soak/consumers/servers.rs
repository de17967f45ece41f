//! How each server is configured and started. What certd does to it is its own business: the server's name is all it has.

pub(super) struct Consumer {
    /// As the configuration and docs/consumers.md call it.
    pub(super) server: &'static str,
    /// Further keys of `[install]`.
    pub(super) more: &'static str,
    pub(super) port: u16,
    /// Arguments of s_client.
    pub(super) client: &'static str,
    /// Inside: writes the configuration. @F and @K are the paths.
    pub(super) configure: &'static str,
    /// Inside: starts it, and leaves the number of its first process in /run/main-UNIT.
    pub(super) start: &'static str,
}

pub(super) const CONSUMERS: &[Consumer] = &[
    Consumer {
        server: "nginx",
        more: "",
        port: 443,
        client: "",
        configure: "echo 'server { listen 443 ssl; ssl_certificate @F; ssl_certificate_key @K; }' >/etc/nginx/conf.d/tls.conf",
        start: "nginx",
    },
    Consumer {
        server: "apache",
        more: "",
        port: 443,
        client: "",
        configure: "a2enmod -q ssl; printf '%s\\n' '<VirtualHost *:443>' 'SSLEngine on' 'SSLCertificateFile @F' \
                    'SSLCertificateKeyFile @K' '</VirtualHost>' >/etc/apache2/sites-enabled/tls.conf",
        start: "apachectl start",
    },
    Consumer {
        server: "haproxy",
        more: "combined = \"/etc/tls/combined.pem\"",
        port: 443,
        client: "",
        configure: "printf '%s\\n' defaults 'mode http' 'timeout connect 5s' 'timeout client 5s' 'timeout server 5s' \
                    'frontend web' 'bind :443 ssl crt /etc/tls/combined.pem' 'http-request return status 200' \
                    >/etc/haproxy/haproxy.cfg; echo EXTRAOPTS= >>/etc/default/haproxy",
        start: "haproxy -W -D -f /etc/haproxy/haproxy.cfg -p /run/main-haproxy",
    },
    Consumer {
        server: "lighttpd",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'server.modules = (\"mod_openssl\")' 'server.document-root = \"/var/www\"' \
                    'server.username = \"www-data\"' 'server.groupname = \"www-data\"' 'server.port = 443' \
                    'server.pid-file = \"/run/main-lighttpd\"' 'ssl.engine = \"enable\"' 'ssl.pemfile = \"@F\"' \
                    'ssl.privkey = \"@K\"' >/etc/lighttpd/lighttpd.conf",
        start: "lighttpd -f /etc/lighttpd/lighttpd.conf",
    },
    Consumer {
        server: "hitch",
        more: "combined = \"/etc/tls/combined.pem\"",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'frontend = \"[*]:443\"' 'backend = \"[127.0.0.1]:80\"' 'user = \"_hitch\"' 'daemon = on' 'pem-file = \"/etc/tls/combined.pem\"' >/etc/hitch/hitch.conf",
        start: "hitch --config=/etc/hitch/hitch.conf --pidfile=/run/main-hitch",
    },
    Consumer {
        server: "stunnel",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'pid = /run/main-stunnel4' '[web]' 'accept = 443' 'connect = 80' 'cert = @F' 'key = @K' \
                    >/etc/stunnel/web.conf",
        start: "stunnel4 /etc/stunnel/web.conf",
    },
    Consumer {
        server: "postfix",
        more: "",
        port: 25,
        client: "-starttls smtp",
        configure: "postconf -e smtpd_tls_chain_files=@K,@F smtpd_tls_security_level=may inet_interfaces=loopback-only inet_protocols=ipv4 \
                    maillog_file=/var/log/postfix.log myhostname=newapi.example.test; newaliases",
        start: "postfix start",
    },
    Consumer {
        server: "dovecot",
        more: "",
        port: 993,
        client: "",
        configure: "printf '%s\\n' 'ssl = yes' 'ssl_cert = <@F' 'ssl_key = <@K' 'log_path = /var/log/dovecot.log' \
                    >/etc/dovecot/conf.d/99-tls.conf",
        start: "dovecot",
    },
    Consumer {
        server: "squid",
        more: "",
        port: 4443,
        client: "",
        configure: "echo 'https_port 4443 tls-cert=@F tls-key=@K' >/etc/squid/conf.d/tls.conf",
        start: "squid",
    },
    Consumer {
        server: "postgresql",
        more: "",
        port: 5432,
        client: "-starttls postgres",
        configure: "mkdir -p /run/postgresql; chown postgres: /run/postgresql; pg_conftool 15 main set ssl_cert_file @F; \
                    pg_conftool 15 main set ssl_key_file @K; pg_conftool 15 main set ssl on",
        start: "pg_ctlcluster --skip-systemctl-redirect 15 main start",
    },
    Consumer {
        server: "redis",
        more: "",
        port: 6380,
        client: "",
        configure: "mkdir -p /run/redis; chown redis: /run/redis; printf '%s\\n' 'tls-port 6380' 'tls-cert-file @F' \
                    'tls-key-file @K' 'tls-auth-clients no' 'tls-ca-cert-file @F' >>/etc/redis/redis.conf",
        start: "setpriv --reuid redis --regid redis --init-groups redis-server /etc/redis/redis.conf --daemonize yes",
    },
    Consumer {
        server: "mosquitto",
        more: "",
        port: 8883,
        client: "",
        configure: "mkdir -p /run/mosquitto; chown mosquitto: /run/mosquitto; printf '%s\\n' 'listener 8883' \
                    'allow_anonymous true' 'certfile @F' 'keyfile @K' >/etc/mosquitto/conf.d/tls.conf",
        start: "mosquitto -d -c /etc/mosquitto/mosquitto.conf; until [ -s /run/mosquitto/mosquitto.pid ]; do sleep 0.1; done; \
                cp /run/mosquitto/mosquitto.pid /run/main-mosquitto",
    },
    Consumer {
        server: "coturn",
        more: "",
        port: 5349,
        client: "",
        configure: "printf '%s\\n' 'tls-listening-port=5349' 'cert=@F' 'pkey=@K' 'no-udp' 'no-dtls' 'listening-ip=127.0.0.1' \
                    'pidfile=/tmp/turn.pid' 'simple-log' 'log-file=/tmp/turn.log' 'userdb=/tmp/turndb' >/etc/turnserver.conf",
        start: "setpriv --reuid turnserver --regid turnserver --init-groups turnserver -o -c /etc/turnserver.conf; \
                until [ -s /tmp/turn.pid ]; do sleep 0.1; done; cp /tmp/turn.pid /run/main-coturn",
    },
    Consumer {
        server: "ocserv",
        more: "",
        port: 4443,
        client: "",
        configure: "printf '%s\\n' 'auth = \"plain[passwd=/etc/ocserv/passwd]\"' 'tcp-port = 4443' 'run-as-user = nobody' \
                    'run-as-group = daemon' 'socket-file = /run/ocserv.socket' 'server-cert = @F' 'server-key = @K' \
                    'device = vpns' 'ipv4-network = 192.168.9.0/24' 'isolate-workers = false' 'max-clients = 9' \
                    'pid-file = /run/main-ocserv' >/etc/ocserv/ocserv.conf; : >/etc/ocserv/passwd",
        start: "ocserv -p /run/main-ocserv -c /etc/ocserv/ocserv.conf",
    },
    Consumer {
        server: "vsftpd",
        more: "",
        port: 990,
        client: "",
        configure: "mkdir -p /run/vsftpd/empty; printf '%s\\n' 'listen=YES' 'listen_port=990' 'background=NO' \
                    'ssl_enable=YES' 'implicit_ssl=YES' 'rsa_cert_file=@F' 'rsa_private_key_file=@K' 'ssl_sslv2=NO' \
                    'ssl_ciphers=HIGH' 'seccomp_sandbox=NO' >/etc/vsftpd.conf; \
                    echo 'vsftpd /etc/vsftpd.conf & echo $! >/run/main-vsftpd' >/run/start-vsftpd",
        start: "sh /run/start-vsftpd",
    },
    Consumer {
        server: "caddy",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' ':443 {' 'tls @F @K' 'respond ok' '}' >/etc/caddy/Caddyfile",
        start: "HOME=/var/lib/caddy setpriv --reuid caddy --regid caddy --init-groups --inh-caps +net_bind_service \
                --ambient-caps +net_bind_service caddy run --config /etc/caddy/Caddyfile & echo $! >/run/main-caddy",
    },
    Consumer {
        server: "h2o",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'user: debian-h2o' 'pid-file: /run/h2o.pid' 'listen:' '  port: 443' '  ssl:' \
                    '    certificate-file: @F' '    key-file: @K' 'hosts:' '  default:' '    paths:' '      /:' \
                    '        file.dir: /var/www' >/etc/h2o/h2o.conf",
        start: "h2o -c /etc/h2o/h2o.conf -m master & echo $! >/run/main-h2o",
    },
    Consumer {
        server: "mariadb",
        more: "",
        port: 3306,
        client: "-starttls mysql",
        configure: "mkdir -p /run/mysqld; chown mysql: /run/mysqld; printf '%s\\n' '[mariadbd]' 'ssl_cert = @F' 'ssl_key = @K' \
                    >/etc/mysql/mariadb.conf.d/99-tls.cnf",
        start: "setpriv --reuid mysql --regid mysql --init-groups mariadbd & echo $! >/run/main-mariadb",
    },
    Consumer {
        server: "prosody",
        more: "",
        port: 5222,
        client: "-starttls xmpp -xmpphost newapi.example.test",
        configure: "mkdir -p /run/prosody; chown prosody: /run/prosody; printf '%s\\n' 'VirtualHost \"newapi.example.test\"' \
                    'ssl = { certificate = \"@F\"; key = \"@K\" }' >/etc/prosody/conf.d/tls.cfg.lua",
        start: "cd /var/lib/prosody; setpriv --reuid prosody --regid prosody --init-groups prosody -F & echo $! >/run/main-prosody",
    },
    Consumer {
        server: "ejabberd",
        more: "",
        port: 5222,
        client: "-starttls xmpp -xmpphost newapi.example.test",
        configure: "mkdir -p /run/ejabberd; chown ejabberd: /run/ejabberd; sed -i -e 's/^  - localhost$/  - newapi.example.test/' \
                    -e 's|\"/etc/ejabberd/ejabberd.pem\"|\"@F\"\\n  - \"@K\"|' /etc/ejabberd/ejabberd.yml",
        start: "ejabberdctl start",
    },
    Consumer {
        server: "slapd",
        more: "",
        port: 636,
        client: "",
        configure: "printf '%s\\n' 'dn: cn=config' 'changetype: modify' 'replace: olcTLSCertificateFile' \
                    'olcTLSCertificateFile: @F' - 'replace: olcTLSCertificateKeyFile' 'olcTLSCertificateKeyFile: @K' \
                    >/run/tls.ldif; slapmodify -n 0 -l /run/tls.ldif; chown -R openldap: /etc/ldap/slapd.d; \
                    mkdir -p /run/slapd; chown openldap: /run/slapd",
        start: "slapd -h 'ldap:/// ldaps:/// ldapi:///' -u openldap -g openldap -F /etc/ldap/slapd.d",
    },
    Consumer {
        server: "bind",
        more: "",
        port: 853,
        client: "",
        configure: "mkdir -p /run/named; chown bind: /run/named; printf '%s\\n' 'tls own { cert-file \"@F\"; key-file \"@K\"; };' \
                    'options { directory \"/var/cache/bind\"; listen-on port 853 tls own { 127.0.0.1; }; };' \
                    >/etc/bind/named.conf.options",
        start: "named -u bind",
    },
    Consumer {
        server: "unbound",
        more: "",
        port: 853,
        client: "",
        configure: "printf '%s\\n' 'server:' '  interface: 127.0.0.1@853' '  tls-service-pem: @F' '  tls-service-key: @K' \
                    >/etc/unbound/unbound.conf.d/tls.conf; /usr/libexec/unbound-helper root_trust_anchor_update; \
                    echo 'unbound -d -p & echo $! >/run/main-unbound' >/run/start-unbound",
        start: "sh /run/start-unbound",
    },
    Consumer {
        server: "dnsdist",
        more: "",
        port: 8853,
        client: "",
        configure: "printf '%s\\n' 'addTLSLocal(\"127.0.0.1:8853\", \"@F\", \"@K\")' 'controlSocket(\"127.0.0.1:5199\")' \
                    \"setKey(\\\"$(openssl rand -base64 32)\\\")\" >>/etc/dnsdist/dnsdist.conf",
        start: "setpriv --reuid _dnsdist --regid _dnsdist --init-groups dnsdist --supervised & echo $! >/run/main-dnsdist",
    },
    Consumer {
        server: "rabbitmq",
        more: "",
        port: 5671,
        client: "",
        configure: "printf '%s\\n' 'listeners.ssl.default = 5671' 'ssl_options.certfile = @F' 'ssl_options.keyfile = @K' \
                    >/etc/rabbitmq/rabbitmq.conf",
        start: "rabbitmq-server -detached",
    },
    Consumer {
        server: "nats",
        more: "",
        // TLS begins after a line in plain text, which s_client does not know and socat's script takes away.
        port: 4223,
        client: "",
        configure: "echo 'tls { cert_file: \"@F\", key_file: \"@K\" }' >>/etc/nats-server.conf; \
                    echo 'exec 3<>/dev/tcp/127.0.0.1/4222; read -r line <&3; cat <&3 & cat >&3; kill $!' >/run/past-line",
        start: "socat TCP-LISTEN:4223,reuseaddr,fork EXEC:'bash /run/past-line' & \
                setpriv --reuid nats --regid nats --init-groups nats-server -c /etc/nats-server.conf & echo $! >/run/main-nats-server",
    },
    Consumer {
        server: "nsd",
        more: "",
        port: 853,
        client: "",
        configure: "mkdir -p /run/nsd; chown nsd: /run/nsd; printf '%s\\n' 'server:' '  ip-address: 127.0.0.1@853' '  tls-port: 853' \
                    '  tls-service-pem: @F' '  tls-service-key: @K' >/etc/nsd/nsd.conf.d/tls.conf; \
                    echo 'nsd -d -P \"\" & echo $! >/run/main-nsd' >/run/start-nsd",
        start: "sh /run/start-nsd",
    },
    Consumer {
        server: "knot-resolver",
        more: "",
        port: 8853,
        client: "",
        configure: "for at in /run/knot-resolver /run/knot-resolver/control /var/lib/knot-resolver /var/cache/knot-resolver; do \
                    mkdir -p $at; chown knot-resolver: $at; done; printf '%s\\n' 'net.listen(\"127.0.0.1\", 8853, { kind = \"tls\" })' \
                    'net.tls(\"@F\", \"@K\")' 'cache.size = 10 * MB' >/etc/knot-resolver/kresd.conf; \
                    echo 'cd /var/lib/knot-resolver; SYSTEMD_INSTANCE=1 setpriv --reuid knot-resolver --regid knot-resolver --init-groups \
                    kresd -c /usr/lib/*/knot-resolver/distro-preconfig.lua -c /etc/knot-resolver/kresd.conf -n & \
                    echo $! >/run/main-kresd@1' >/run/start-kresd@1",
        start: "sh /run/start-kresd@1",
    },
    Consumer {
        server: "exim",
        more: "",
        port: 25,
        client: "-starttls smtp",
        configure: "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-download --no-install-recommends exim4-daemon-light; \
                    printf '%s\\n' 'MAIN_TLS_ENABLE = yes' 'MAIN_TLS_CERTIFICATE = @F' 'MAIN_TLS_PRIVATEKEY = @K' \
                    >/etc/exim4/exim4.conf.localmacros; update-exim4.conf",
        start: "/etc/init.d/exim4 start",
    },
    Consumer {
        server: "proftpd",
        more: "",
        port: 21,
        client: "-starttls ftp",
        configure: "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-download --no-install-recommends proftpd-core proftpd-mod-crypto; \
                    printf '%s\\n' 'LoadModule mod_tls.c' 'TLSEngine on' 'TLSECCertificateFile @F' 'TLSECCertificateKeyFile @K' \
                    >/etc/proftpd/conf.d/tls.conf",
        start: "proftpd; until [ -s /run/proftpd.pid ]; do sleep 0.1; done; cp /run/proftpd.pid /run/main-proftpd",
    },
];
