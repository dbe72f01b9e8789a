-- Makes a backup and keeps the newest ones of its name: backup NAME [KEEP]. KEEP is 7 without it.
local name, keep = arg[1], tonumber(arg[2] or 7)
if not name or not name:match("^[%w_.-]+$") or not keep or keep < 1 then error("usage: backup NAME [KEEP]", 0) end
local made = metabase.backup(name)
print("backup " .. made.name .. " version " .. made.version)
local versions = {}
for _, b in ipairs(metabase.backups()) do
  if b.name == made.name then versions[#versions + 1] = b.version end
end
table.sort(versions)
for i = 1, #versions - keep do
  metabase.delete_backup(name, versions[i])
  print("deleted version " .. versions[i])
end
