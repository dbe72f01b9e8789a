-- Grants accounts the mail of domains by TURN, takes it back, lists who has it: turn grant|revoke SITE DOMAIN ACCOUNT, turn list SITE, turn
-- import SITE FILE.csv (DOMAIN,ACCOUNT on each line, - is standard input).
local verb, site = arg[1], arg[2]
local usage = "usage: turn grant|revoke SITE DOMAIN ACCOUNT | list SITE | import SITE FILE.csv"
if not site then error(usage, 0) end
local function user(account) return account:match("[^\\]*$") end -- without a domain of Windows
local domains = GetObject("IIS://LocalHost/SMTPSVC/" .. site .. "/Domain")

local function find(name)
  local ok, d = pcall(domains.GetObject, domains, "IIsSmtpDomain", name)
  if ok then return d end
  if not tostring(d):find("0x80070003", 1, true) then error(d, 0) end
end

-- the account as the domain's list spells it, nil where it is not in there
local function named(d, account)
  for _, name in ipairs(d and d.AuthTurnList or {}) do
    if name:lower() == account:lower() then return name end
  end
end

-- local domains, by name: their mail is not held
local kept

local function isLocal(name)
  if not kept then
    kept = {[GetObject("IIS://LocalHost/SMTPSVC/" .. site).DefaultDomain:lower()] = true}
    for _, d in ipairs(domain.list(tonumber(site))) do
      kept[d.name:lower()] = d.kind ~= "remote" and not d.held
    end
  end
  return kept[name:lower()]
end

local function grant(name, account)
  if isLocal(name) then error(name .. " is a local domain: its mail is not held", 0) end
  local d = find(name) or domains:Create("IIsSmtpDomain", name)
  d.RouteAction = bit.bor(d.RouteAction, 514)
  if not named(d, account) then d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {account}) end
  d:SetInfo()
end

if verb == "grant" and arg[4] then
  grant(arg[3], user(arg[4]))
elseif verb == "revoke" and arg[4] then
  local d = find(arg[3]) or error("there is no domain " .. arg[3], 0)
  local account = named(d, user(arg[4])) or error(arg[4] .. " may not collect the mail of " .. d.Name .. " anyway", 0)
  d:PutEx(ADS_PROPERTY_DELETE, "AuthTurnList", {account})
  d:SetInfo()
elseif verb == "list" then
  for d in domains do
    local ok, accounts = pcall(d.GetEx, d, "AuthTurnList")
    if ok and #accounts > 0 then print(d.Name, table.concat(accounts, " ")) end
  end
elseif verb == "import" and arg[3] then
  local file = arg[3] == "-" and io.stdin or assert(io.open(arg[3]))
  local rows = csv.rows(file:read("*a"), "DOMAIN", "ACCOUNT")
  if #rows == 0 then error(arg[3] .. ": names no domain", 0) end
  transaction(function()
    for _, row in ipairs(rows) do
      if #row ~= 2 or row[1] == "" then error("line " .. row.line .. ": is not DOMAIN,ACCOUNT: " .. table.concat(row, ","), 0) end
      grant(row[1], user(row[2]))
    end
  end)
else
  error(usage, 0)
end
