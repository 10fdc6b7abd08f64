/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/master/depot/depot.h"
#include "sync/master/publish/publish.h"

#include <inttypes.h>
#include <string.h>

static const char help[] =
	"usage: depotfs publish DEPOT TREE [options]\n"
	"\n"
	"Publishes the directory TREE as the depot's next revision and points a channel "
	"at\n"
	"it. Only what changed is read; with no change nothing is published.\n"
	"\n"
	"  --channel NAME      the channel (default stable)\n"
	"  --packages GLOB     directories that are packages, from TREE's top: "
	"'npm/*/*';\n"
	"                      may be repeated; remembered for the next publish\n"
	"  --message TEXT      stands in the log\n"
	"  --dry-run           only tell what would be read\n"
	"  --level N           zstd's level, 1 to 19 (default 9)\n"
	"  --key FILE          the signing key\n"
	"  --key-dir DIR       where NAME.key is (default: as for init)\n"
	"  --expires-days N    the head's life (default 365; 0: for ever)\n"
	"  --threads N         readers (default: one for each processor)\n";

struct arguments {
	struct publish_options options;
	char **globs;
	size_t glob_capacity;
};

static void arguments_release(struct arguments *a)
{
	free(a->globs);
}

static int parse_number(
	const char *option, const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
	unsigned long long n;

	if (io_parse_u64(text, &n) < 0 || n < low || n > high)
		return cli_usage_error("publish",
			"--%s wants a number from %" PRIu64 " to %" PRIu64, option, low,
			high);
	*out = n;
	return 0;
}

static int add_glob(struct arguments *a, char *glob)
{
	int r = mem_grow((void **)&a->globs, &a->glob_capacity, a->options.glob_count,
		sizeof(char *));
	size_t len = strlen(glob);

	if (r < 0)
		return EXIT_FAILED;
	/* a tree's paths neither begin nor end with a slash */
	while (len && glob[len - 1] == '/')
		glob[--len] = '\0';
	while (*glob == '/')
		glob++;
	if (!*glob || strchr(glob, '\n'))
		return cli_usage_error(
			"publish", "--packages wants a path with wildcards");
	a->globs[a->options.glob_count++] = glob;
	a->options.globs = a->globs;
	return 0;
}

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;
	struct publish_options *o = &a->options;
	uint64_t n = 0;
	int r = 0;

	switch (option) {
	case 'c':
		o->channel = optarg;
		break;
	case 'p':
		r = add_glob(a, optarg);
		break;
	case 'm':
		o->message = optarg;
		break;
	case 'n':
		o->is_dry_run = true;
		break;
	case 'l':
		r = parse_number("level", optarg, 1, 19, &n);
		o->level = (int)n;
		break;
	case 'k':
		o->key = optarg;
		break;
	case 'd':
		o->key_dir = optarg;
		break;
	case 'e':
		r = parse_number("expires-days", optarg, 0, 36500, &o->expires_days);
		break;
	default:
		r = parse_number("threads", optarg, 1, 64, &n);
		o->threads = (unsigned int)n;
	}
	return r;
}

/* CLI_GO_ON, or an exit status. */
static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {{"channel", required_argument, NULL, 'c'},
		{"packages", required_argument, NULL, 'p'},
		{"message", required_argument, NULL, 'm'},
		{"dry-run", no_argument, NULL, 'n'},
		{"level", required_argument, NULL, 'l'},
		{"key", required_argument, NULL, 'k'},
		{"key-dir", required_argument, NULL, 'd'},
		{"expires-days", required_argument, NULL, 'e'},
		{"threads", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct publish_options *o = &a->options;
	int status = cli_short_options(argc, argv, "hnm:", options, help, take_option, a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 2)
		return cli_usage_error(argv[0], "name a DEPOT and a TREE");
	if (!record_name_is_valid(o->channel) || strstr(o->channel, ".tmp"))
		return cli_usage_error(
			argv[0], "'%s' is no valid channel name", o->channel);
	for (const char *p = o->message; p && *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return cli_usage_error(argv[0],
				"--message wants one line without control characters");
	}
	if (o->message && strlen(o->message) > RECORD_MESSAGE_MAX)
		return cli_usage_error(
			argv[0], "--message is longer than %d bytes", RECORD_MESSAGE_MAX);
	o->depot = argv[optind];
	o->tree = argv[optind + 1];
	return CLI_GO_ON;
}

static void print_sums(const struct publish_report *r)
{
	printf("  entries        %" PRIu64 "\n"
	       "  packages       %" PRIu64 " (%" PRIu64 " changed)\n"
	       "  files read     %" PRIu64 "\n"
	       "  bytes read     %" PRIu64 "\n",
		r->entries, r->packages, r->changed_packages, r->files_read,
		r->bytes_read);
	if (r->outcome != PUBLISH_DRY_RUN)
		printf("  bytes stored   %" PRIu64 "\n", r->bytes_stored);
	if (r->sockets)
		printf("  sockets        %" PRIu64 " left out\n", r->sockets);
	printf("  time           %.2f s\n", r->seconds);
}

static void print_report(const struct publish_options *o, const struct publish_report *r)
{
	switch (r->outcome) {
	case PUBLISH_REVISION:
		printf("published revision %" PRIu64 ", channel %s\n", r->revision,
			o->channel);
		break;
	case PUBLISH_HEAD:
		printf("nothing changed since revision %" PRIu64
		       "; channel %s now points at it\n",
			r->revision, o->channel);
		break;
	case PUBLISH_RENEWED:
		printf("nothing changed since revision %" PRIu64
		       "; the life of channel %s was prolonged\n",
			r->revision, o->channel);
		break;
	case PUBLISH_NOTHING:
		printf("nothing changed since revision %" PRIu64 "\n", r->revision);
		break;
	case PUBLISH_DRY_RUN:
		if (r->has_changes)
			printf("would look at this for revision %" PRIu64
			       " (nothing was published):\n",
				r->revision);
		else
			printf("nothing changed since revision %" PRIu64 "\n",
				r->revision);
		break;
	}
	print_sums(r);
}

int cmd_publish(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct arguments a CLEANUP(arguments_release) = {
		.options = {.channel = "stable",
			.level = 9,
			.expires_days = 365,
			.threads = processors > 1 ? (unsigned int)processors : 1}};
	struct publish_report report;
	int r = parse(argc, argv, &a);

	if (r != CLI_GO_ON)
		return r;
	if (publish(&a.options, &report) < 0)
		return EXIT_FAILED;
	print_report(&a.options, &report);
	return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
