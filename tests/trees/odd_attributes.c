/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/trees/odd.h"

#include "tests/trees/plant.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HERE "packages/meta/1.0/"

static const struct {
	const char *path; /* a directory if it ends in '/' */
	mode_t mode;
	uid_t uid;
	gid_t gid;
} owned[] = {
	{HERE "mode-0000", 0000, 0, 0},
	{HERE "mode-0777", 0777, 0, 0},
	{HERE "mode-0444", 0444, 0, 0},
	{HERE "mode-4755", 04755, 0, 0},
	{HERE "mode-2755", 02755, 0, 0},
	{HERE "mode-1777", 01777, 0, 0},
	{HERE "mode-7777", 07777, 0, 0},
	{HERE "dir-0000/inside", 0644, 0, 0},
	{HERE "dir-0000/", 0000, 0, 0},
	{HERE "dir-1777/", 01777, 0, 0},
	{HERE "dir-2775/", 02775, 0, 4000000},
	{HERE "owner-65534", 0644, 65534, 65534},
	{HERE "owner-4000000", 0640, 4000000, 4000001},
	{HERE "owner-4294967294", 0600, 4294967294, 4294967294},
	{HERE "owner-setuid", 06755, 4000000, 65534},
};

static const struct {
	const char *path;
	struct timespec mtime;
} timed[] = {
	{HERE "time-1901", {-2147483647, 5}},
	{HERE "time-1955", {-470000000, 123456789}},
	{HERE "time-1969", {-1, 999999999}},
	{HERE "time-1970", {0, 0}},
	{HERE "time-1970-1ns", {0, 1}},
	{HERE "time-2038-before", {2147483647, 999999999}},
	{HERE "time-2038-after", {2147483648, 1}},
	{HERE "time-2106", {4294967296, 7}},
	{HERE "time-2400", {13569465600, 42}},
	{HERE "time-dir-1955/", {-470000000, 500000000}},
};

#define XATTR(literal) literal, sizeof(literal) - 1

/* POSIX ACL entries as the kernel takes them: tag, permissions, id; all little endian. */
#define ACL_HEAD	      "\x02\x00\x00\x00"
#define ACL_OWNER(perm)	      "\x01\x00" perm "\x00\xff\xff\xff\xff"
#define ACL_USER(perm, id)    "\x02\x00" perm "\x00" id
#define ACL_GROUP(perm)	      "\x04\x00" perm "\x00\xff\xff\xff\xff"
#define ACL_A_GROUP(perm, id) "\x08\x00" perm "\x00" id
#define ACL_MASK(perm)	      "\x10\x00" perm "\x00\xff\xff\xff\xff"
#define ACL_OTHER(perm)	      "\x20\x00" perm "\x00\xff\xff\xff\xff"
#define ID_1000		      "\xe8\x03\x00\x00"
#define ID_4000000	      "\x00\x09\x3d\x00"

#define ACL_OF_FILE                                                                      \
	ACL_HEAD ACL_OWNER("\x06") ACL_USER("\x04", ID_1000)                             \
		ACL_USER("\x06", ID_4000000) ACL_GROUP("\x04")                           \
			ACL_A_GROUP("\x04", ID_1000) ACL_MASK("\x06") ACL_OTHER("\x00")
#define ACL_OF_DIR                                                                       \
	ACL_HEAD ACL_OWNER("\x07") ACL_USER("\x05", ID_4000000) ACL_GROUP("\x05")        \
		ACL_MASK("\x07") ACL_OTHER("\x01")

/* The shape of Samba's: a version, a hash, then a security descriptor. */
#define NT_ACL                                                                           \
	"\x04\x00\x04\x00\x00\x00\x02\x00\x04\x00\x02\x00\x01\x00posix_"                 \
	"acl\x00\x01\x00\x04\x9c"                                                        \
	"\x48\x00\x00\x00\x64\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x01\x05\x00"   \
	"\x00\x00\x00"                                                                   \
	"\x00\x05\x15\x00\x00\x00\xff\x00\xfe\x00"

static const struct {
	const char *path;
	const char *name;
	const char *value;
	size_t size_bytes;
} attributed[] = {
	{HERE "xattr-user", "user.comment", XATTR("a plain value")},
	{HERE "xattr-user", "user.empty", XATTR("")},
	{HERE "xattr-user", "user.binary", XATTR("\x00\x01\xff\n\x00\x80=\"\\")},
	{HERE "xattr-user", "user.name with = and\nnewline", XATTR("odd name")},
	{HERE "xattr-dos", "user.DOSATTRIB",
		XATTR("\x00\x00\x05\x00\x05\x00\x00\x00\x11\x00\x00\x00\x22\x00\x00\x00"
		      "\x10\x00\x00\x00\x00\x00\x00\x00\x80\x0c\x2e\x5d\x33\xb9\xd5"
		      "\x01")},
	{HERE "xattr-ntacl", "security.NTACL", XATTR(NT_ACL)},
	{HERE "xattr-ntacl", "user.DOSATTRIB", XATTR("0x20")},
	{HERE "xattr-ntacl-too", "security.NTACL", XATTR(NT_ACL)},
	{HERE "xattr-dir/", "user.comment", XATTR("on a directory")},
	{HERE "xattr-dir/", "security.NTACL", XATTR(NT_ACL)},
	{HERE "acl-access", "system.posix_acl_access", XATTR(ACL_OF_FILE)},
	{HERE "acl-dir/", "system.posix_acl_access", XATTR(ACL_OF_DIR)},
	{HERE "acl-dir/", "system.posix_acl_default", XATTR(ACL_OF_DIR)},
	{"packages/mutate/1.0/xattr", "user.comment", XATTR("before")},
};

static void make_entry(struct odd *odd, const char *path)
{
	struct plant_segment segment = {PLANT_TEXT, plant_hash(9, path), 150};
	int r = plant_parents(odd->root, path);

	if (r == 0 && path[strlen(path) - 1] != '/')
		r = plant_file(odd->root, path, &segment, 1);
	if (r != -EEXIST) /* one entry may be in a table more than once */
		odd_check(odd, path, "the entry", r);
}

void odd_make_attributes(struct odd *odd)
{
	for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
		make_entry(odd, owned[i].path);
	for (size_t i = 0; i < sizeof(timed) / sizeof(*timed); i++)
		make_entry(odd, timed[i].path);
	for (size_t i = 0; i < sizeof(attributed) / sizeof(*attributed); i++)
		make_entry(odd, attributed[i].path);
	make_entry(odd, HERE "xattr-large");
	make_entry(odd, HERE "xattr-many");
	if (symlinkat("xattr-ntacl", odd->root, HERE "xattr-symlink") < 0)
		odd_check(odd, HERE "xattr-symlink", "the symlink", -errno);
}

static void set_xattr(struct odd *odd, const char *path, const char *name,
	const void *value, size_t size)
{
	char proc_path[64];
	int fd = openat(odd->root, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = 0;

	if (fd < 0) {
		odd_check(odd, path, name, -errno);
		return;
	}
	(void)snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", fd);
	if (setxattr(proc_path, name, value, size, 0) < 0)
		r = errno == ENOSPC ? -E2BIG
				    : -errno; /* ext4's word for a value too large */
	(void)close(fd);
	odd_check(odd, path, name, r);
}

static void set_xattrs(struct odd *odd)
{
	unsigned char large[2048];
	uint64_t state = 5;

	for (size_t i = 0; i < sizeof(attributed) / sizeof(*attributed); i++)
		set_xattr(odd, attributed[i].path, attributed[i].name,
			attributed[i].value, attributed[i].size_bytes);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (unsigned char)plant_random(&state);
	set_xattr(odd, HERE "xattr-large", "user.two-kib", large, sizeof(large));
	for (int i = 0; i < 30; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "user.number-%d", i);
		set_xattr(odd, HERE "xattr-many", name, name, strlen(name));
	}
	set_xattr(odd, HERE "xattr-symlink", "security.NTACL", XATTR(NT_ACL));
}

/* A file system clamps a time it cannot store: then the entry goes. */
static void set_time(struct odd *odd, const char *path, struct timespec mtime)
{
	struct stat st;
	int r = plant_mtime(odd->root, path, mtime);

	if (r == 0 && fstatat(odd->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r == 0 && (st.st_mtim.tv_sec != mtime.tv_sec ||
			      st.st_mtim.tv_nsec != mtime.tv_nsec)) {
		r = -EOVERFLOW;
		if (unlinkat(odd->root, path, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
			r = -errno;
	}
	odd_check(odd, path, "the time", r);
}

static void set_owner(
	struct odd *odd, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	int r = 0;

	/* The mode comes second: a change of owner takes the setuid bits away. */
	if (fchownat(odd->root, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	odd_check(odd, path, "the owner", r);
	r = fchmodat(odd->root, path, mode, 0) < 0 ? -errno : 0;
	odd_check(odd, path, "the mode", r);
}

void odd_set_attributes(struct odd *odd)
{
	int r = 0;

	set_xattrs(odd);
	if (fchownat(odd->root, "packages/links/1.0/dangling", 4000000, 65534,
		    AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	odd_check(odd, "packages/links/1.0/dangling", "the owner", r);
	/* Removing what cannot be dated touches the directory: its time is set again. */
	for (size_t i = 0; i < sizeof(timed) / sizeof(*timed); i++)
		set_time(odd, timed[i].path, timed[i].mtime);
	r = plant_mtime(odd->root, HERE, odd_time(2));
	odd_check(odd, HERE, "the time", r);
	for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
		set_owner(odd, owned[i].path, owned[i].mode, owned[i].uid, owned[i].gid);
}
