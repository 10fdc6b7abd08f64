/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"

#include "cache/base/cli.h"
#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "sync/master/depot/depot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

static const char help[] =
	"usage: depotfs init DEPOT --name NAME [--key-dir DIR]\n"
	"\n"
	"Makes an empty depot in the directory DEPOT and a key pair for it.\n"
	"\n"
	"  --name NAME     the repository's name: a-z 0-9 . _ -, at most 63\n"
	"  --key-dir DIR   where NAME.key (private) and NAME.pub are written\n"
	"                  (default " DEPOT_DEFAULT_KEYS ")\n";

static const char *const folders[] = {"channel", "revision", "catalog", "pack", "policy"};

struct init {
	const char *depot;
	const char *name;
	const char *key_dir;
	bool made_depot;
	bool made_keys;
	bool is_done;
	int fd;
};

/* Whatever was made on the way to a failure goes again. */
static void undo(struct init *in)
{
	char path[PATH_MAX];
	static const char *const ends[] = {"key", "pub"};

	if (in->fd >= 0 && !in->is_done) {
		(void)unlinkat(in->fd, DEPOT_TRUST, 0);
		(void)unlinkat(in->fd, DEPOT_TRUSTED_KEYS, 0);
		(void)unlinkat(in->fd, DEPOT_KEY_DIR, 0);
		(void)unlinkat(in->fd, DEPOT_TMP, AT_REMOVEDIR);
		(void)unlinkat(in->fd, DEPOT_PUBLISHER, AT_REMOVEDIR);
		for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
			(void)unlinkat(in->fd, folders[i], AT_REMOVEDIR);
	}
	for (size_t i = 0; in->made_keys && !in->is_done && i < ARRAY_SIZE(ends); i++) {
		if (snprintf(path, sizeof(path), "%s/%s.%s", in->key_dir, in->name,
			    ends[i]) < (int)sizeof(path))
			(void)unlink(path);
	}
	if (in->made_depot && !in->is_done)
		(void)rmdir(in->depot);
	cleanup_close(&in->fd);
}

static int check_empty(const struct init *in)
{
	struct stat st;
	int fd = openat(in->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool is_empty = true;
	const struct dirent *d;

	if (!dir) {
		int r = -errno;

		cleanup_close(&fd);
		return log_error_errno(
			r, "cannot list %s: %s", in->depot, log_strerror(r));
	}
	while ((d = readdir(dir))) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			is_empty = false;
	}
	(void)closedir(dir);
	if (fstatat(in->fd, DEPOT_TRUST, &st, 0) == 0)
		return log_error_errno(
			-EEXIST, "%s is a depot already; publish to it", in->depot);
	if (!is_empty)
		return log_error_errno(-ENOTEMPTY,
			"%s is not empty; name a new or an empty directory", in->depot);
	return 0;
}

static int make_dir(const struct init *in, const char *name, mode_t mode)
{
	if (mkdirat(in->fd, name, mode) < 0 || fchmodat(in->fd, name, mode, 0) < 0)
		return log_error_errno(-errno, "cannot make %s/%s: %s", in->depot, name,
			log_strerror(errno));
	return 0;
}

static int make_skeleton(struct init *in)
{
	if (mkdir(in->depot, 0755) == 0) {
		in->made_depot = true;
		if (chmod(in->depot, 0755) < 0)
			return log_error_errno(-errno, "cannot open %s to readers: %s",
				in->depot, log_strerror(errno));
	} else if (errno != EEXIST) {
		return log_error_errno(
			-errno, "cannot make %s: %s", in->depot, log_strerror(errno));
	}
	int fd = open(in->depot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return log_error_errno(
			-errno, "cannot open %s: %s", in->depot, log_strerror(errno));
	in->fd = fd;
	int r = check_empty(in);

	if (r < 0) {
		/* nothing of this is ours to remove */
		in->is_done = true;
		return r;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
		r = make_dir(in, folders[i], 0755);
	if (r == 0)
		r = make_dir(in, DEPOT_PUBLISHER, 0700);
	if (r == 0)
		r = make_dir(in, DEPOT_TMP, 0700);
	return r;
}

static int copy_public_key(const struct init *in)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s.pub", in->key_dir, in->name) >=
		(int)sizeof(path))
		return -ENAMETOOLONG;
	int r = io_read_file(AT_FDCWD, path, &text);

	if (r == 0)
		r = durable_write(in->fd, DEPOT_TRUSTED_KEYS, text.data, text.len, 0644);
	if (r < 0)
		return log_error_errno(
			r, "cannot copy %s into the depot: %s", path, log_strerror(r));
	return 0;
}

/* So that the publisher need not be told again. */
static int remember_key_dir(const struct init *in)
{
	char path[PATH_MAX];

	int r = realpath(in->key_dir, path) ? 0 : -errno;

	if (r == 0)
		r = durable_write(in->fd, DEPOT_KEY_DIR, path, strlen(path), 0600);
	if (r < 0)
		return log_error_errno(r, "cannot remember the key directory %s: %s",
			in->key_dir, log_strerror(r));
	return 0;
}

static int write_trust(const struct init *in)
{
	static const char digits[] = "0123456789abcdef";
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = {.version = 1, .threshold = 1};
	struct signing_key *key;
	uint8_t id[(REPOSITORY_ID_SIZE - 1) / 2];
	char path[PATH_MAX];

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return log_error_errno(-EIO, "the system gave no random numbers");
	for (size_t i = 0; i < sizeof(id); i++) {
		trust.id[2 * i] = digits[id[i] >> 4];
		trust.id[2 * i + 1] = digits[id[i] & 15];
	}
	(void)snprintf(trust.name, sizeof(trust.name), "%s", in->name);
	(void)snprintf(path, sizeof(path), "%s/%s.key", in->key_dir, in->name);
	int r = signing_key_load(path, &key);

	if (r < 0)
		return log_error_errno(r, "cannot read %s: %s", path, log_strerror(r));
	r = key_ring_add(&trust.keys, signing_key_public(key)->bytes);
	if (r == 0)
		r = trust_encode(&trust, key, &text);
	signing_key_free(key);
	/* last: with it the directory is a depot */
	if (r == 0)
		r = durable_write(in->fd, DEPOT_TRUST, text.data, text.len, 0644);
	if (r < 0)
		return log_error_errno(r, "cannot write %s/" DEPOT_TRUST ": %s",
			in->depot, log_strerror(r));
	return 0;
}

/* The part of `path` that is there already, opened; it is shortened to it. */
static int open_existing(char *path)
{
	int fd;

	while ((fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 &&
		errno == ENOENT) {
		char *slash = strrchr(path, '/');

		if (slash)
			slash[slash == path] = '\0';
		else
			memcpy(path, ".", sizeof("."));
	}
	return fd < 0 ? -errno : fd;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static bool leads_up(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2) {
		if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
	}
	return false;
}

/* What is in the depot is handed out by a web server. */
static int check_key_dir(const struct init *in)
{
	char path[PATH_MAX];
	struct stat depot;
	struct stat before = {0};
	struct stat st;

	if (snprintf(path, sizeof(path), "%s", in->key_dir) >= (int)sizeof(path))
		return log_error_errno(
			-ENAMETOOLONG, "the key directory's name is too long");
	AUTO_CLOSE int fd = open_existing(path);

	if (fd < 0 || fstat(in->fd, &depot) < 0)
		return 0; /* making it will tell */
	/* what is missing yet could lead anywhere by its dots */
	if (leads_up(in->key_dir + (strcmp(path, ".") == 0 ? 0 : strlen(path))))
		return log_error_errno(-EINVAL,
			"the key directory %s is not there yet; name it without '..'",
			in->key_dir);
	while (fstat(fd, &st) == 0 && !is_same(&st, &before)) {
		if (is_same(&st, &depot))
			return log_error_errno(-EINVAL,
				"the key directory %s lies inside the depot %s, which a "
				"web server hands out; name another --key-dir",
				in->key_dir, in->depot);
		int above = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (above < 0)
			break;
		before = st;
		close(fd);
		fd = above;
	}
	return 0;
}

static int init(struct init *in)
{
	int r = make_skeleton(in);

	if (r == 0)
		r = check_key_dir(in);
	if (r < 0)
		return r;
	r = key_generate(in->key_dir, in->name);
	if (r == -EEXIST)
		return log_error_errno(r,
			"%s/%s.key or .pub is there already; choose another --name "
			"or --key-dir",
			in->key_dir, in->name);
	if (r < 0)
		return log_error_errno(r, "cannot make the keys in %s: %s", in->key_dir,
			log_strerror(r));
	in->made_keys = true;
	r = copy_public_key(in);
	if (r == 0)
		r = remember_key_dir(in);
	if (r == 0)
		r = write_trust(in);
	in->is_done = r == 0;
	return r;
}

static int take_option(void *arg, int option)
{
	struct init *in = arg;

	if (option == 'n')
		in->name = optarg;
	else
		in->key_dir = optarg;
	return 0;
}

int cmd_init(int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
		{"key-dir", required_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct init in CLEANUP(undo) = {.fd = -1, .key_dir = DEPOT_DEFAULT_KEYS};
	int status = cli_options(argc, argv, options, help, take_option, &in);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error(argv[0], "name one DEPOT");
	if (!in.name)
		return cli_usage_error(argv[0], "--name is missing");
	if (!record_name_is_valid(in.name))
		return cli_usage_error(argv[0],
			"'%s' is no valid name: a-z 0-9 . _ - only, "
			"beginning with a letter or digit",
			in.name);
	in.depot = argv[optind];
	if (init(&in) < 0)
		return EXIT_FAILED;
	printf("made the depot %s\n"
	       "made the key   %s/%s.key (keep it secret, keep a copy)\n"
	       "made           %s/%s.pub (give it to every mirror)\n"
	       "next: depotfs publish %s TREE\n",
		in.depot, in.key_dir, in.name, in.key_dir, in.name, in.depot);
	return EXIT_DONE;
}
