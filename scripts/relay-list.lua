-- Sets who may relay through a site from a file: relay-list SITE FILE (an address, or an address and its mask, on each line, - is standard
-- input). An empty file is refused.
local site, name = arg[1], arg[2]
if not name then error("usage: relay-list SITE FILE", 0) end
local file = name == "-" and io.stdin or assert(io.open(name))
local list = {}
for _, row in ipairs(csv.rows(file:read("*a"), "ADDRESS", "MASK")) do
  list[#list + 1] = table.concat(row, ", ")
end
if #list == 0 then error(name .. ": names no address", 0) end
local object = GetObject("IIS://LocalHost/SMTPSVC/" .. site)
object:Put("RelayIpList", {GrantByDefault = false, IPGrant = list})
object:SetInfo()
print(#list .. " entries may relay through site " .. site)
