-- Makes a backup and keeps the newest ones of its name: backup NAME [KEEP [RESTANTE]]. KEEP is 7 without it; RESTANTE is how the command is
-- called, such as "restante --data DIR".
local name, keep, command = arg[1], tonumber(arg[2] or 7), arg[3] or "restante"
if not name or not name:match("^[%w_.-]+$") or not keep or keep < 1 then error("usage: backup NAME [KEEP [RESTANTE]]", 0) end
if os.execute(command .. " mb backup " .. name) ~= 0 then error("the backup came to nothing", 0) end
local pipe = io.popen(command .. " --json mb backups")
local list = json.decode(pipe:read("*a"))
if not pipe:close() then error("mb backups came to nothing", 0) end
local versions = {}
for _, b in ipairs(list) do
  if b.name == name then versions[#versions + 1] = b.version end
end
table.sort(versions)
for i = 1, #versions - keep do
  if os.execute(command .. " --yes mb backups --delete " .. name .. " --version " .. versions[i]) ~= 0 then
    error("version " .. versions[i] .. " stays", 0)
  end
end
