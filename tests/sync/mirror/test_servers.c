/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fetcher against servers that depots are really put behind: nginx with TLS, sshd. */
#include "cache/base/threads/clock.h"
#include "sync/mirror/fetcher.h"
#include "tests/support/temporary.h"
#include "tests/sync/mirror/depot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMITED_COUNT 20

static struct depot depot;
static char work[64];

static PRINTF_LIKE(1, 2) int shell(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang 14 is wrong */
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	return system(command); /* NOLINT(cert-env33-c): a test's own command */
}

static int free_port(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static void wait_for_port(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port)};

	for (int i = 0; i < 3000; i++) {
		AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return;
		usleep(20 * 1000);
	}
	fail_msg("no server on port %d", port);
}

static pid_t start(const char *program, char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		/* a test that fails midway leaves no server behind */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)execv(program, argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static void stop(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* `deadline_ms`: of who does not get through. */
static int fetch_all_within(struct fetcher_config config, int deadline_ms)
{
	struct fetcher *fetcher;
	struct waited w[2];

	config.timeout_ms = 15000;
	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	wait_init(&w[0], &depot);
	wait_init(&w[1], &depot);
	wait_fetch_frames(&w[0], fetcher_source(fetcher), 0, DEPOT_FRAMES, deadline_ms);
	wait_fetch_catalog(&w[1], fetcher_source(fetcher), deadline_ms);
	int r = wait_end(&w[0], 120);

	assert_int_equal(wait_end(&w[1], 120), r);
	fetcher_free(fetcher);
	if (r == 0)
		assert_int_equal(w[0].delivered, DEPOT_FRAMES);
	wait_release(&w[0]);
	wait_release(&w[1]);
	return r;
}

static int fetch_all(struct fetcher_config config)
{
	return fetch_all_within(config, 60000);
}

static int fetch_in_vain(struct fetcher_config config)
{
	return fetch_all_within(config, 2000);
}

/* `limited` serves ten requests at a time, slowly enough for them to meet. */
static pid_t start_nginx(int http, int https, int limited)
{
	static char conf[128];
	FILE *f;

	(void)snprintf(conf, sizeof(conf), "%s/nginx.conf", work);
	f = fopen(conf, "w");
	assert_non_null(f);
	assert_true(
		fprintf(f,
			"daemon off; master_process off; pid %s/pid; error_log %s/log;\n"
			"events {}\n"
			"http { access_log off;\n"
			"  client_body_temp_path %s; proxy_temp_path %s;\n"
			"  fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;\n"
			"  server { listen 127.0.0.1:%d; listen 127.0.0.1:%d ssl http2;\n"
			"    ssl_certificate %s/cert.pem; ssl_certificate_key "
			"%s/key.pem;\n"
			"    root %s; }\n"
			"  limit_conn_zone $server_port zone=ten:1m;\n"
			"  log_format status $status;\n"
			"  server { listen 127.0.0.1:%d; root %s;\n"
			"    limit_conn ten 10; limit_rate 30k;\n"
			"    access_log %s/limited status; } }\n",
			work, work, work, work, work, work, work, http, https, work, work,
			depot.dir, limited, depot.dir, work) > 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(shell("openssl req -x509 -newkey ec -pkeyopt "
			       "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=t "
			       "-addext subjectAltName=IP:127.0.0.1 -keyout %s/key.pem "
			       "-out %s/cert.pem 2>/dev/null",
				 work, work),
		0);
	char *const argv[] = {"nginx", "-c", conf, "-p", work, NULL};
	pid_t pid = start("/usr/sbin/nginx", argv);

	wait_for_port(https);
	return pid;
}

static void nginx_serves_over_http_and_over_https_with_its_own_authority(void **state)
{
	char url[64];
	char cafile[128];
	int http = free_port();
	int https = free_port();

	(void)state;
	if (access("/usr/sbin/nginx", X_OK) < 0) {
		print_message("nginx is not installed\n");
		skip();
	}
	pid_t pid = start_nginx(http, https, free_port());

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/", http);
	assert_int_equal(fetch_all((struct fetcher_config){.urls = url}), 0);
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%d", https);
	(void)snprintf(cafile, sizeof(cafile), "%s/cert.pem", work);
	assert_int_equal(
		fetch_all((struct fetcher_config){.urls = url, .cafile = cafile}), 0);
	/* an authority that is not the system's is not trusted unless it is given */
	assert_int_equal(
		fetch_in_vain((struct fetcher_config){.urls = url}), -EHOSTUNREACH);
	stop(pid);
}

/* How many lines of its log say so. */
static unsigned int answered(const char *status)
{
	char path[128];
	char line[16];
	unsigned int n = 0;

	(void)snprintf(path, sizeof(path), "%s/limited", work);
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strncmp(line, status, 3) == 0;
	assert_int_equal(fclose(f), 0);
	return n;
}

static void fetch_single_frames(struct fetcher *fetcher)
{
	static struct waited w[LIMITED_COUNT];

	for (size_t i = 0; i < LIMITED_COUNT; i++) {
		wait_init(&w[i], &depot);
		wait_fetch_frames(&w[i], fetcher_source(fetcher), i, 1, 120000);
	}
	for (size_t i = 0; i < LIMITED_COUNT; i++) {
		assert_int_equal(wait_end(&w[i], 120), 0);
		wait_release(&w[i]);
	}
}

static void an_nginx_with_limit_conn_fails_no_request_and_is_asked_for_less(void **state)
{
	struct fetcher_config config = {.timeout_ms = 15000};
	struct source_status status;
	struct fetcher *fetcher;
	int limited = free_port();
	char url[64];

	(void)state;
	if (access("/usr/sbin/nginx", X_OK) < 0) {
		print_message("nginx is not installed\n");
		skip();
	}
	pid_t pid = start_nginx(free_port(), free_port(), limited);

	wait_for_port(limited);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", limited);
	config.urls = url;
	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	fetch_single_frames(fetcher);
	unsigned int refused = answered("503");

	assert_in_range(refused, 1, 6);
	assert_int_equal(answered("206"), LIMITED_COUNT);
	/* nobody has heard of it: each request had one try */
	source_status(fetcher_source(fetcher), &status);
	assert_int_equal(status.requests, LIMITED_COUNT);
	fetch_single_frames(fetcher);
	assert_int_equal(answered("503"), refused);
	fetcher_free(fetcher);
	stop(pid);
}

static pid_t start_sshd(int port)
{
	static char conf[128];
	FILE *f;

	assert_int_equal(
		shell("cd %s && ssh-keygen -q -t ed25519 -N '' -f host && "
		      "ssh-keygen -q -m PEM -t ecdsa -N '' -f user && "
		      "cp user.pub authorized && chmod 600 authorized && "
		      "echo \"[127.0.0.1]:%d $(cut -d' ' -f1,2 host.pub)\" >known && "
		      ": >unknown",
			work, port),
		0);
	(void)snprintf(conf, sizeof(conf), "%s/sshd.conf", work);
	f = fopen(conf, "w");
	assert_non_null(f);
	assert_true(
		fprintf(f,
			"ListenAddress 127.0.0.1:%d\nHostKey %s/host\nPidFile none\n"
			"AuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\n"
			"PasswordAuthentication no\nSubsystem sftp internal-sftp\n",
			port, work, work) > 0);
	assert_int_equal(fclose(f), 0);
	(void)mkdir("/run/sshd", 0755);
	char *const argv[] = {"/usr/sbin/sshd", "-D", "-e", "-f", conf, NULL};
	pid_t pid = start("/usr/sbin/sshd", argv);

	wait_for_port(port);
	return pid;
}

static void sshd_serves_to_those_who_know_its_key(void **state)
{
	char url[160];
	char sshkey[128];
	char known[128];
	int port = free_port();
	const struct passwd *me = getpwuid(0);

	(void)state;
	if (access("/usr/sbin/sshd", X_OK) < 0 || geteuid() != 0) {
		print_message("sshd is not installed, or this is not root\n");
		skip();
	}
	assert_non_null(me);
	pid_t pid = start_sshd(port);

	(void)snprintf(url, sizeof(url), "sftp://%s@127.0.0.1:%d%s",
		me ? me->pw_name : "root", port, depot.dir);
	(void)snprintf(sshkey, sizeof(sshkey), "%s/user", work);
	(void)snprintf(known, sizeof(known), "%s/known", work);
	assert_int_equal(fetch_all((struct fetcher_config){
				 .urls = url, .sshkey = sshkey, .knownhosts = known}),
		0);
	(void)snprintf(known, sizeof(known), "%s/unknown", work);
	assert_int_equal(fetch_in_vain((struct fetcher_config){
				 .urls = url, .sshkey = sshkey, .knownhosts = known}),
		-EHOSTUNREACH);
	stop(pid);
}

static int make(void **state)
{
	(void)state;
	depot_make(&depot);
	return temporary_dir(work, sizeof(work), "servers") && chmod(depot.dir, 0755) == 0
		       ? 0
		       : -1;
}

static int clean(void **state)
{
	(void)state;
	depot_remove(&depot);
	return shell("rm -rf '%s'", work);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			nginx_serves_over_http_and_over_https_with_its_own_authority),
		cmocka_unit_test(
			an_nginx_with_limit_conn_fails_no_request_and_is_asked_for_less),
		cmocka_unit_test(sshd_serves_to_those_who_know_its_key),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
