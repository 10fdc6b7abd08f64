/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/mount_options.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/disk/mount_path.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

const char mount_options_help[] =
	"usage: depotfs mount URL[,URL...] MOUNTPOINT -o key=FILE,cache=DIR[,OPTION...] "
	"[-f]\n"
	"\n"
	"Shows the depot at URL (file://, http://, https://, sftp://; `none` lives from "
	"the\n"
	"cache alone) as a read-only directory. Several URLs are tried by health.\n"
	"\n"
	"  -f                stay in the foreground\n"
	"  -o key=FILE       the repository's public key(s), PEM\n"
	"  -o cache=DIR      where fetched content is kept; one mount each\n"
	"  -o cache_limit=SIZE  the most it may take of its disk: 200G, 1T (no limit)\n"
	"  -o cache_free=SIZE|N%  what it leaves free there (5%, 1G at most)\n"
	"  -o channel=NAME   what to follow (stable)\n"
	"  -o timeout=SEC    how long a read waits for the network before it fails (15)\n"
	"  -o open=MODE      passthrough: the kernel reads cached files itself (the "
	"default);\n"
	"                    none: it opens them without asking, too, but reads through "
	"the\n"
	"                    daemon\n"
	"  -o latency=MODE   low: processors are kept awake while short answers are "
	"waited "
	"for\n"
	"                    (the default); normal: never\n"
	"  -o allow_other    let other users, and so Samba's, see the mount\n"
	"  -o fsname=NAME    the mount's name in /proc/mounts; must be unique\n"
	"  -o cafile=FILE    certificates to trust for https://\n"
	"  -o sshkey=FILE    private key for sftp://\n"
	"  -o knownhosts=FILE  host keys for sftp:// (~/.ssh/known_hosts)\n"
	"  -o log=FILE       append the log to FILE\n"
	"\n"
	"A comma in a value is written as \\,\n";

void mount_options_release(struct mount_options *o)
{
	free(o->urls);
	free(o->mountpoint);
	free(o->key);
	free(o->cache);
	free(o->channel);
	free(o->fsname);
	free(o->cafile);
	free(o->sshkey);
	free(o->knownhosts);
	free(o->log);
	free(o->conf);
	for (size_t i = 0; i < o->setting_count; i++)
		free(o->settings[i]);
	free(o->settings);
	*o = (struct mount_options){0};
}

/* What mount(8), fstab and autofs add to every mount and what is true of this one anyway. */
static bool is_generic(const char *name)
{
	static const char *const names[] = {"ro", "defaults", "nosuid", "nodev", "noexec",
		"exec", "noatime", "relatime", "auto", "noauto", "nofail", "_netdev",
		"default_permissions"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return strncmp(name, "x-", 2) == 0;
}

static int set_timeout(struct mount_options *o, const char *value)
{
	unsigned long long seconds;

	if (io_parse_u64(value, &seconds) < 0 || seconds < 1 || seconds > 3600) {
		cli_usage_error(
			"mount", "timeout=%s: seconds from 1 to 3600 are wanted", value);
		return -EINVAL;
	}
	o->timeout_sec = (unsigned int)seconds;
	return 0;
}

static int set_open_mode(struct mount_options *o, const char *value)
{
	o->is_open_none = strcmp(value, "none") == 0;
	if (o->is_open_none || strcmp(value, "passthrough") == 0)
		return 0;
	cli_usage_error("mount", "open=%s: 'passthrough' or 'none' is wanted", value);
	return -EINVAL;
}

static int set_latency(struct mount_options *o, const char *value)
{
	o->is_latency_normal = strcmp(value, "normal") == 0;
	if (o->is_latency_normal || strcmp(value, "low") == 0)
		return 0;
	cli_usage_error("mount", "latency=%s: 'low' or 'normal' is wanted", value);
	return -EINVAL;
}

static int set_cache_limit(struct mount_options *o, const char *value)
{
	if (eviction_parse_size(value, &o->cache_limit) == 0)
		return 0;
	cli_usage_error("mount",
		"cache_limit=%s: bytes are wanted, with K, M, G or T if you like; 0 for "
		"no "
		"limit",
		value);
	return -EINVAL;
}

static int set_cache_free(struct mount_options *o, const char *value)
{
	if (eviction_parse_floor(value, &o->cache_free) == 0)
		return 0;
	cli_usage_error("mount",
		"cache_free=%s: bytes (20G) or a share of the disk (5%%) are wanted",
		value);
	return -EINVAL;
}

/* "NAME=VALUE", and room for a NULL behind the last. */
static int keep_setting(struct mount_options *o, const char *name, const char *value)
{
	struct buffer text = BUFFER_INIT(64 * 1024);
	char **list = mem_resize(o->settings, o->setting_count + 2, sizeof(*list));

	if (!list)
		return -ENOMEM;
	o->settings = list;
	o->settings[o->setting_count] = NULL;
	int r = buffer_printf(&text, "%s=%s", name, value);

	if (r < 0) {
		buffer_release(&text);
		return r;
	}
	o->settings[o->setting_count++] = (char *)text.data;
	o->settings[o->setting_count] = NULL;
	return 0;
}

static int set_option(struct mount_options *o, char *option)
{
	const struct {
		const char *name;
		char **slot;
	} texts[] = {{"key", &o->key}, {"cache", &o->cache}, {"channel", &o->channel},
		{"fsname", &o->fsname}, {"cafile", &o->cafile}, {"sshkey", &o->sshkey},
		{"knownhosts", &o->knownhosts}, {"log", &o->log}, {"conf", &o->conf}};
	char *value = strchr(option, '=');

	if (value)
		*value++ = '\0';
	if (!value && strcmp(option, "allow_other") == 0) {
		o->allow_other = true;
		return 0;
	}
	if (is_generic(option))
		return 0;
	if (strcmp(option, "rw") == 0) {
		cli_usage_error("mount",
			"the mount is read-only: changes are published on the "
			"master");
		return -EINVAL;
	}
	if (strcmp(option, "timeout") == 0)
		return set_timeout(o, value ? value : "");
	if (strcmp(option, "open") == 0)
		return set_open_mode(o, value ? value : "");
	if (strcmp(option, "latency") == 0)
		return set_latency(o, value ? value : "");
	if (strcmp(option, "cache_limit") == 0)
		return set_cache_limit(o, value ? value : "");
	if (strcmp(option, "cache_free") == 0)
		return set_cache_free(o, value ? value : "");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (strcmp(texts[i].name, option) != 0)
			continue;
		if (!value || !*value) {
			cli_usage_error("mount", "option %s wants a value: %s=...",
				option, option);
			return -EINVAL;
		}
		return mem_set_text(texts[i].slot, value);
	}
	if (value)
		return keep_setting(o, option, value);
	cli_usage_error("mount", "unknown option '%s'", option);
	return -EINVAL;
}

/* Cuts the next option off `*rest` as strsep(3) does, but a comma or backslash behind a backslash
 * belongs to it, as for every FUSE mount. */
static char *next_option(char **rest)
{
	char *option = *rest;
	char *to = option;

	if (!option)
		return NULL;
	for (char *from = option;; from++) {
		if (*from == '\\' && (from[1] == ',' || from[1] == '\\')) {
			*to++ = *++from;
		} else if (*from == ',' || *from == '\0') {
			*rest = *from ? from + 1 : NULL;
			*to = '\0';
			return option;
		} else {
			*to++ = *from;
		}
	}
}

static int set_options(struct mount_options *o, const char *list)
{
	AUTO_FREE char *copy = mem_strdup(list);
	char *rest = copy;
	char *option;

	if (!copy)
		return -ENOMEM;
	while ((option = next_option(&rest))) {
		int r = *option ? set_option(o, option) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* Relative paths would lose their meaning when the daemon leaves the directory. */
static int make_absolute(char **path)
{
	if (!*path || **path == '/')
		return 0;
	AUTO_FREE char *cwd = getcwd(NULL, 0);
	struct buffer whole = BUFFER_INIT(64 * 1024);

	if (!cwd)
		return -errno;
	int r = buffer_printf(&whole, "%s/%s", cwd, *path);

	if (r < 0) {
		buffer_release(&whole);
		return r;
	}
	free(*path);
	*path = (char *)whole.data;
	return 0;
}

/* One that is not there yet is reported later, by its own name. */
static int make_canonical(char **mountpoint)
{
	char path[PATH_MAX];
	int r = mount_path_of(*mountpoint, path);

	if (r == -ENOENT || r == -ENOTDIR)
		return make_absolute(mountpoint);
	return r < 0 ? r : mem_set_text(mountpoint, path);
}

static int take_positional(struct mount_options *o, int argc, char **argv)
{
	if (argc != 2) {
		cli_usage_error("mount", "a URL and a mountpoint are wanted");
		return -EINVAL;
	}
	int r = mem_set_text(&o->urls, argv[0]);

	if (r == 0)
		r = mem_set_text(&o->mountpoint, argv[1]);
	if (r < 0)
		return r;
	if (!o->key || !o->cache) {
		cli_usage_error("mount", "-o %s is missing: %s",
			o->key ? "cache=DIR" : "key=FILE",
			o->key ? "where fetched content is kept"
			       : "the repository's public key, NAME.pub of `depotfs "
				 "init`");
		return -EINVAL;
	}
	return 0;
}

int mount_options_parse(int argc, char **argv, struct mount_options *out)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"options", required_argument, NULL, 'o'},
		{"foreground", no_argument, NULL, 'f'}, {0}};
	int r = 0;
	int c;

	*out = (struct mount_options){.timeout_sec = MOUNT_TIMEOUT_DEFAULT_SEC};
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, "fho:", longopts, NULL)) != -1) {
		if (c == 'f')
			out->is_foreground = true;
		else if (c == 'h')
			out->is_help = true;
		else if (c == 'o')
			r = set_options(out, optarg);
		else
			r = -EINVAL;
	}
	if (r < 0 || out->is_help)
		return r;
	r = take_positional(out, argc - optind, argv + optind);
	if (r == 0 && !out->channel)
		r = mem_set_text(&out->channel, "stable");
	if (r == 0)
		r = make_canonical(&out->mountpoint);
	char **const paths[] = {&out->key, &out->cache, &out->cafile, &out->sshkey,
		&out->knownhosts, &out->log, &out->conf};

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(paths); i++)
		r = make_absolute(paths[i]);
	return r;
}
